-- Takes the diagnoses whose pause is over: {id, queue, attempt}...
-- ARGV: at most
go_on_when_full()
local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', int(now_ms()), 'LIMIT', 0, ARGV[1])
local taken = {}
for _, id in ipairs(due) do
  redis.call('ZREM', DELAYED, id)
  local record = load(id)
  if record and record.state == QUEUED then taken[#taken + 1] = {id, record.queue, record.attempt} end
end
return taken
