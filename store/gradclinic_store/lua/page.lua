-- The newest diagnoses that stand in all given indexes, below a sequence number: some fields of each.
-- ARGV: tenant, below ('+inf' for the newest), at most, at most to look at, at most bytes (but one is always answered),
--       number of fields, field names..., index names...
-- Answers {the fields' values of each, bytes of all, sequence number to go on below, or '' at the end}.
local tenant, below, size, budget, most_bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local first_index = 7 + ARGV[6]
local fields = {unpack(ARGV, 7, first_index - 1)}
local smallest, smallest_size
for i = first_index, #ARGV do
  local members = redis.call('ZCARD', index_key(tenant, ARGV[i]))
  if not smallest_size or members < smallest_size then smallest, smallest_size = i, members end
end
local found, bytes = {}, 0
local looked_at = 0
while true do
  local batch = redis.call('ZREVRANGEBYSCORE', index_key(tenant, ARGV[smallest]), below, '-inf', 'WITHSCORES', 'LIMIT', 0, 100)
  if #batch == 0 then return {found, bytes, ''} end
  for b = 1, #batch, 2 do
    if #found == size or looked_at == budget then return {found, bytes, below} end
    looked_at = looked_at + 1
    local everywhere = true
    for i = first_index, #ARGV do
      if i ~= smallest and not redis.call('ZSCORE', index_key(tenant, ARGV[i]), batch[b]) then
        everywhere = false
        break
      end
    end
    if everywhere then
      local values = redis.call('HMGET', record_key(batch[b]), unpack(fields))
      local more = 0
      for _, value in ipairs(values) do more = more + (value and #value or 0) end
      if #found > 0 and bytes + more > most_bytes then return {found, bytes, below} end
      if more > 0 then found[#found + 1], bytes = values, bytes + more end
    end
    below = '(' .. batch[b + 1]
  end
end
