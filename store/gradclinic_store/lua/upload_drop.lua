-- Drops what interrupted uploads of a holding have stored, if their time is over.
-- ARGV: holding
local expire_ms = redis.call('ZSCORE', PARTS, ARGV[1])
if not expire_ms or tonumber(expire_ms) > now_ms() then return 0 end
drop_part(ARGV[1])
return 1
