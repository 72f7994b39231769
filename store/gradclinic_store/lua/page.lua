-- Ids of the newest diagnoses that stand in all given indexes, below a sequence number.
-- ARGV: tenant, below ('+inf' for the newest), at most, at most to look at, index names...
-- Answers {ids, sequence number to go on below, or '' at the end}.
local tenant, below, size, budget = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local smallest, smallest_size
for i = 5, #ARGV do
  local members = redis.call('ZCARD', index_key(tenant, ARGV[i]))
  if not smallest_size or members < smallest_size then smallest, smallest_size = i, members end
end
local ids = {}
local looked_at = 0
while true do
  local batch = redis.call('ZREVRANGEBYSCORE', index_key(tenant, ARGV[smallest]), below, '-inf', 'WITHSCORES', 'LIMIT', 0, 100)
  if #batch == 0 then return {ids, ''} end
  for b = 1, #batch, 2 do
    if #ids == size or looked_at == budget then return {ids, below} end
    below = '(' .. batch[b + 1]
    looked_at = looked_at + 1
    local everywhere = true
    for i = 5, #ARGV do
      if i ~= smallest and not redis.call('ZSCORE', index_key(tenant, ARGV[i]), batch[b]) then
        everywhere = false
        break
      end
    end
    if everywhere then ids[#ids + 1] = batch[b] end
  end
end
