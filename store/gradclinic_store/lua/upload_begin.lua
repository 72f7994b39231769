-- Begins an upload, or goes on with what others, or earlier ones, have stored of the same artifact.
-- ARGV: tenant, sha256, size_bytes, offset_bytes, writer, blob, part_retention_ms, limits as of take_room (4)...
-- Answers {'stored'}, {'offset', received}, {'full', 'tenant' or 'all'} or {'begun', blob, others at it, where its first
-- chunk begins, names of the chunks before}.
local tenant, sha256, size, offset, writer = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local held = holding(tenant, sha256)
if is_stored(held) then return {'stored'} end
local key = part_key(held)
local part = redis.call('HMGET', key, 'size_bytes', 'received_bytes', 'blob', 'refuted')
local begins, names = NOTHING_YET, {}
if offset > 0 then
  local received = part[4] and 0 or tonumber(part[2] or '0')
  if received == 0 then return {'offset', 0} end
  begins = nil
  each_chunk(held, function(field, ends) if ends == offset then begins = field end end)
  if not begins then return {'offset', received} end
  local at = begins
  while at ~= NOTHING_YET do
    local before, name = string.match(redis.call('HGET', prefixes_key(held), at), '^(%S+) (%S+)')
    names[#names + 1] = name
    at = before
  end
end
local more = size - tonumber(part[1] or '0')
if more > 0 or not part[1] then
  local where = take_room(tenant, more, {tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])})
  if where then return {'full', where} end
  redis.call('HSET', key, 'size_bytes', int(size))
end
if not part[1] then redis.call('HSET', key, 'received_bytes', '0', 'held_bytes', '0', 'blob', ARGV[6]) end
local others = writers(held, writer)
redis.call('HSET', key, 'writer:' .. writer, '1')
redis.call('ZADD', PARTS, int(now_ms() + tonumber(ARGV[7])), held)
local answer = {'begun', part[3] or ARGV[6], others, begins}
for i = #names, 1, -1 do answer[#answer + 1] = names[i] end
return answer
