-- Lets the diagnoses start whose pause is over: {id, queue}...
-- ARGV: at most
go_on_when_full()
local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', int(now_ms()), 'LIMIT', 0, ARGV[1])
local taken = {}
for _, id in ipairs(due) do
  redis.call('ZREM', DELAYED, id)
  local record = load(id)
  if record and record.state == QUEUED then
    line_up(record)
    taken[#taken + 1] = {id, record.queue}
  end
end
return taken
