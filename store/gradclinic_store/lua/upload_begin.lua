-- Begins an upload anew, or takes over one that was interrupted.
-- ARGV: sha256, kind, format, size_bytes, offset_bytes, writer, blob, part_retention_ms, max_stored_bytes
-- Answers {'stored'}, {'offset', received}, {'full', stored bytes} or {'begun', blob}.
local sha256, size, offset, writer = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
if redis.call('EXISTS', artifact_key(sha256)) == 1 then return {'stored'} end
local key = part_key(sha256)
local part = redis.call('HMGET', key, 'received_bytes', 'size_bytes', 'blob', 'writer')
local expire_ms = int(now_ms() + tonumber(ARGV[8]))
if offset > 0 then
  if not part[1] then return {'offset', 0} end
  if tonumber(part[1]) ~= offset or tonumber(part[2]) ~= size then return {'offset', tonumber(part[1])} end
  redis.call('HSET', key, 'writer', writer, 'kind', ARGV[2], 'format', ARGV[3])
  redis.call('ZADD', PARTS, expire_ms, sha256)
  return {'begun', part[3]}
end
if part[4] == writer then return {'begun', part[3]} end
drop_part(sha256)
local stored = tonumber(redis.call('GET', STORED) or '0')
if stored + size > tonumber(ARGV[9]) then return {'full', stored} end
redis.call('INCRBY', STORED, int(size))
redis.call('HSET', key, 'writer', writer, 'kind', ARGV[2], 'format', ARGV[3], 'size_bytes', int(size), 'received_bytes', '0', 'blob', ARGV[7])
redis.call('ZADD', PARTS, expire_ms, sha256)
return {'begun', ARGV[7]}
