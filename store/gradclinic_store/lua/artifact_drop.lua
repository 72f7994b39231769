-- Forgets an artifact whose time is over.
-- ARGV: sha256
local expire_ms = redis.call('ZSCORE', ARTIFACTS, ARGV[1])
if not expire_ms or tonumber(expire_ms) > now_ms() then return 0 end
redis.call('ZREM', ARTIFACTS, ARGV[1])
local known = redis.call('HMGET', artifact_key(ARGV[1]), 'blob', 'size_bytes')
if not known[1] then return 0 end
redis.call('SADD', GARBAGE, known[1])
redis.call('DECRBY', STORED, known[2])
redis.call('DEL', artifact_key(ARGV[1]))
return 1
