-- Takes a diagnosis away from a worker whose lease ran out: queued again after a pause, or failed for good.
-- ARGV: id, max_attempts, pause_ms, retention_ms, failure, quarantine_ms
go_on_when_full()
local record = load(ARGV[1])
if not record or record.state ~= RUNNING then return nil end
local now = now_ms()
local lease = redis.call('ZSCORE', LEASES, record.id)
if lease and tonumber(lease) > now then return nil end
local lost = tonumber(record.lost) + 1
count('lost')
if lost >= tonumber(ARGV[2]) then
  blame(record, CRASHES_BEFORE_QUARANTINE, tonumber(ARGV[6]))
  move(record, FAILED, now, {lost = int(lost), failure = ARGV[5], expire_ms = int(now + tonumber(ARGV[4]))})
  return 'failed'
end
record.progress = '0'
move(record, QUEUED, now, {lost = int(lost), progress = '0'})
redis.call('ZADD', DELAYED, int(now + tonumber(ARGV[3]) * 2 ^ (lost - 1)), record.id)
return 'queued'
