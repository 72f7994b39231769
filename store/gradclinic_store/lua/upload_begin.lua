-- Begins an upload anew, or takes over one that was interrupted.
-- When there is no room, artifacts that nobody needs or used lately are evicted, the longest unused first.
-- ARGV: sha256, kind, format, size_bytes, offset_bytes, writer, blob, part_retention_ms, max_stored_bytes,
--       artifact_retention_ms, idle_ms
-- Answers {'stored'}, {'offset', received}, {'full', stored bytes} or {'begun', blob}.

-- The artifacts to evict so that `needed` bytes come free; nil when that cannot be.
local function evictable(needed, unused_until_ms)
  local chosen, start = {}, 0
  while needed > 0 do
    local batch = redis.call('ZRANGEBYSCORE', ARTIFACTS, '-inf', int(unused_until_ms), 'LIMIT', start, 100)
    if #batch == 0 then return nil end
    start = start + #batch
    for _, candidate in ipairs(batch) do
      if needed > 0 and redis.call('HEXISTS', REFERENCES, candidate) == 0 then
        chosen[#chosen + 1] = candidate
        needed = needed - tonumber(redis.call('HGET', artifact_key(candidate), 'size_bytes') or '0')
      end
    end
  end
  return chosen
end

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
-- When it expires tells when it was last used.
local evicted = evictable(stored + size - tonumber(ARGV[9]), now_ms() + tonumber(ARGV[10]) - tonumber(ARGV[11]))
if not evicted then return {'full', stored} end
for _, unused in ipairs(evicted) do
  drop_artifact(unused)
  count('evictions')
end
redis.call('INCRBY', STORED, int(size))
redis.call('HSET', key, 'writer', writer, 'kind', ARGV[2], 'format', ARGV[3], 'size_bytes', int(size), 'received_bytes', '0', 'blob', ARGV[7])
redis.call('ZADD', PARTS, expire_ms, sha256)
return {'begun', ARGV[7]}
