-- Begins an upload anew, or takes over one that was interrupted.
-- When there is no room, artifacts that nobody needs or used lately are evicted, the longest unused first: a tenant that
-- is at its own limit loses its own. Bytes that other tenants have count as if they were not there.
-- ARGV: tenant, sha256, kind, format, size_bytes, offset_bytes, writer, blob, part_retention_ms, max_stored_bytes,
--       tenant_max_stored_bytes, artifact_retention_ms, idle_ms
-- Answers {'stored'}, {'offset', received}, {'full', 'tenant' or 'all'} or {'begun', blob}.

-- The holdings to evict so that `own` bytes of the tenant and `all` bytes of the store come free; nil and where they do
-- not when that cannot be.
local function evictable(tenant, own, all, unused_until_ms)
  local chosen, gone, start = {}, {}, 0
  while own > 0 or all > 0 do
    local batch = redis.call('ZRANGEBYSCORE', ARTIFACTS, '-inf', int(unused_until_ms), 'LIMIT', start, 100)
    if #batch == 0 then return nil, all > 0 and 'all' or 'tenant' end
    start = start + #batch
    for _, held in ipairs(batch) do
      local owner, sha256 = parts_of(held)
      if (all > 0 or (own > 0 and owner == tenant)) and redis.call('HEXISTS', REFERENCES, held) == 0 then
        local size = tonumber(redis.call('HGET', artifact_key(held), 'size_bytes') or '0')
        chosen[#chosen + 1] = held
        if owner == tenant then own = own - size end
        gone[sha256] = (gone[sha256] or 0) + 1
        if gone[sha256] == tonumber(redis.call('HGET', bytes_key(sha256), 'holders')) then all = all - size end
      end
    end
  end
  return chosen
end

local tenant, sha256, size, offset, writer = ARGV[1], ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local held = holding(tenant, sha256)
if redis.call('EXISTS', artifact_key(held)) == 1 then return {'stored'} end
local key = part_key(held)
local part = redis.call('HMGET', key, 'received_bytes', 'size_bytes', 'blob', 'writer')
local expire_ms = int(now_ms() + tonumber(ARGV[9]))
if offset > 0 then
  if not part[1] then return {'offset', 0} end
  if tonumber(part[1]) ~= offset or tonumber(part[2]) ~= size then return {'offset', tonumber(part[1])} end
  redis.call('HSET', key, 'writer', writer, 'kind', ARGV[3], 'format', ARGV[4])
  redis.call('ZADD', PARTS, expire_ms, held)
  return {'begun', part[3]}
end
if part[4] == writer then return {'begun', part[3]} end
drop_part(held)
local all = tonumber(redis.call('GET', STORED) or '0') + size - tonumber(ARGV[10])
local own = tonumber(redis.call('GET', tenant_bytes_key(tenant)) or '0') + size - tonumber(ARGV[11])
-- When it expires tells when it was last used.
local evicted, where = evictable(tenant, own, all, now_ms() + tonumber(ARGV[12]) - tonumber(ARGV[13]))
if not evicted then return {'full', where} end
for _, unused in ipairs(evicted) do
  drop_artifact(unused)
  count('evictions')
end
redis.call('INCRBY', STORED, int(size))
charge(tenant, int(size))
redis.call('HSET', key, 'writer', writer, 'kind', ARGV[3], 'format', ARGV[4], 'size_bytes', int(size), 'received_bytes', '0', 'blob', ARGV[8])
redis.call('ZADD', PARTS, expire_ms, held)
return {'begun', ARGV[8]}
