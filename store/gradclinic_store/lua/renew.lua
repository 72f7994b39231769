-- Extends the lease of an attempt: 'alive', 'cancelled' or 'fenced'.
-- ARGV: id, token, lease_ms
go_on_when_full()
local record = load(ARGV[1])
if not record or record.token ~= ARGV[2] then return 'fenced' end
if record.state == CANCELLED then return 'cancelled' end
if record.state ~= RUNNING then return 'fenced' end
redis.call('ZADD', LEASES, int(now_ms() + tonumber(ARGV[3])), record.id)
return 'alive'
