-- Describes an artifact; with a retention above 0 it is kept that long from now. {artifact, expire_ms} or nil.
-- ARGV: tenant, sha256, retention_ms
local held = holding(ARGV[1], ARGV[2])
local fields = redis.call('HGETALL', artifact_key(held))
if #fields == 0 then return nil end
local retention_ms = tonumber(ARGV[3])
if retention_ms > 0 then redis.call('ZADD', ARTIFACTS, 'GT', int(now_ms() + retention_ms), held) end
return {fields, redis.call('ZSCORE', ARTIFACTS, held)}
