-- Describes an artifact; with a retention above 0 it is kept that long from now. {artifact, expire_ms} or nil.
-- ARGV: sha256, retention_ms
local fields = redis.call('HGETALL', artifact_key(ARGV[1]))
if #fields == 0 then return nil end
local retention_ms = tonumber(ARGV[2])
if retention_ms > 0 then redis.call('ZADD', ARTIFACTS, 'GT', int(now_ms() + retention_ms), ARGV[1]) end
return {fields, redis.call('ZSCORE', ARTIFACTS, ARGV[1])}
