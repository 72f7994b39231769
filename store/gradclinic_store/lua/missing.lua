-- Notes that a queued diagnosis has no queue entry; answers {queue, attempt} when that has been so for too long.
-- ARGV: id, grace_ms
go_on_when_full()
local record = load(ARGV[1])
if not record or record.state ~= QUEUED or redis.call('ZSCORE', DELAYED, record.id) then
  redis.call('ZREM', MISSING, ARGV[1])
  return nil
end
local now = now_ms()
redis.call('ZADD', MISSING, 'NX', int(now), record.id)
if now - tonumber(redis.call('ZSCORE', MISSING, record.id)) < tonumber(ARGV[2]) then return nil end
redis.call('ZADD', MISSING, int(now), record.id)
return {record.queue, record.attempt}
