-- Ends the diagnoses of one queue that waited longer than they may. Answers with their ids.
-- ARGV: queue, ttl_ms, retention_ms, at most
go_on_when_full()
local now = now_ms()
local late = redis.call('ZRANGEBYSCORE', waiting_key(ARGV[1]), '-inf', int(now - tonumber(ARGV[2])), 'LIMIT', 0, ARGV[4])
for _, id in ipairs(late) do
  local record = load(id)
  if record and record.state == QUEUED then
    move(record, EXPIRED, now, {expire_ms = int(now + tonumber(ARGV[3]))})
  else
    redis.call('ZREM', waiting_key(ARGV[1]), id)
  end
end
return late
