-- Notes how far an attempt is; 0 when it is not the current one any more.
-- ARGV: id, token, stage, progress, lease_ms
go_on_when_full()
local record = load(ARGV[1])
if not record or record.state ~= RUNNING or record.token ~= ARGV[2] then return 0 end
local now = now_ms()
record.stage, record.progress = ARGV[3], ARGV[4]
redis.call('ZADD', LEASES, int(now + tonumber(ARGV[5])), record.id)
tell(record, now, {stage = record.stage, progress = record.progress})
return 1
