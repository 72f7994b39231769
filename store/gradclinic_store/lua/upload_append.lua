-- Notes chunks that follow each other, each under what all bytes up to its end hash to; one that is there already stays.
-- ARGV: tenant, sha256, writer, blob, part_retention_ms, limits as of take_room (4), where the first chunk begins, then for
--       each chunk where it ends and its name ('' for one that was there already)...
-- Answers {what, others at it, names that were written in vain...}; what: 'noted', 'stored' (another upload has ended well),
-- 'gone' (what came before is), or 'full' with 'tenant' or 'all' in place of others.
local tenant, writer, begins = ARGV[1], ARGV[3], ARGV[10]
local held = holding(tenant, ARGV[2])
local key, prefixes = part_key(held), prefixes_key(held)

-- An answer without these chunks. They may have been noted by this very call, whose answer was lost, and be in use by now.
local function without_them(what, more)
  local answer, used = {what, more}, {}
  for _, name in ipairs(redis.call('LRANGE', chunks_key(ARGV[4]), 0, -1)) do used[name] = true end
  for i = 12, #ARGV, 2 do
    if ARGV[i] ~= '' and not used[ARGV[i]] then answer[#answer + 1] = ARGV[i] end
  end
  return answer
end

local part = redis.call('HMGET', key, 'size_bytes', 'received_bytes', 'held_bytes', 'blob')
if part[4] ~= ARGV[4] then return without_them(is_stored(held) and 'stored' or 'gone', 0) end
if begins ~= NOTHING_YET and redis.call('HEXISTS', prefixes, begins) == 0 then return without_them('gone', 0) end
local fresh, answer, received, bytes = {}, {'noted', writers(held, writer)}, tonumber(part[2]), 0
for i = 11, #ARGV, 2 do
  local ends, name = ARGV[i], ARGV[i + 1]
  local known = redis.call('HGET', prefixes, ends)
  if not known and name == '' then return without_them('gone', 0) end
  local end_bytes = tonumber(string.match(ends, '^%d+'))
  if not known then
    fresh[#fresh + 1] = ends
    fresh[#fresh + 1] = begins .. ' ' .. name .. ' ' .. writer
    bytes = bytes + end_bytes - tonumber(string.match(begins, '^%d+'))
  elseif name ~= '' and string.match(known, '^%S+ (%S+)') ~= name then
    answer[#answer + 1] = name
  end
  received = math.max(received, end_bytes)
  begins = ends
end
local more = tonumber(part[3]) + bytes - tonumber(part[1]) -- only where others send other bytes for the same artifact
if more > 0 then
  local where = take_room(tenant, more, {tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])})
  if where then return without_them('full', where) end
  redis.call('HINCRBY', key, 'size_bytes', int(more))
end
for i = 1, #fresh, 2 do redis.call('HSET', prefixes, fresh[i], fresh[i + 1]) end
redis.call('HINCRBY', key, 'held_bytes', int(bytes))
redis.call('HSET', key, 'received_bytes', int(received))
redis.call('ZADD', PARTS, int(now_ms() + tonumber(ARGV[5])), held)
count('upload_bytes', int(bytes))
return answer
