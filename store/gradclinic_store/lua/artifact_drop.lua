-- Forgets an artifact whose time is over and that no unfinished diagnosis needs.
-- ARGV: holding
local expire_ms = redis.call('ZSCORE', ARTIFACTS, ARGV[1])
if not expire_ms or tonumber(expire_ms) > now_ms() then return 0 end
if redis.call('HEXISTS', REFERENCES, ARGV[1]) == 1 then return 0 end
drop_artifact(ARGV[1])
return 1
