-- Describes an artifact; with a retention above 0 it is kept that long from now. {artifact, expire_ms, blob,
-- {names of its chunks}} or nil.
-- ARGV: tenant, sha256, retention_ms
local held = holding(ARGV[1], ARGV[2])
if not is_stored(held) then return nil end
local retention_ms = tonumber(ARGV[3])
if retention_ms > 0 then redis.call('ZADD', ARTIFACTS, 'GT', int(now_ms() + retention_ms), held) end
local blob = redis.call('HGET', bytes_key(ARGV[2]), 'blob')
local names = redis.call('LRANGE', chunks_key(blob), 0, -1)
return {redis.call('HGETALL', artifact_key(held)), redis.call('ZSCORE', ARTIFACTS, held), blob, names}
