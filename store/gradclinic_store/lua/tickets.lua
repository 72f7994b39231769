-- Compares the tickets of a queue with what may start. Answers {how many are missing, how many are too many}.
-- ARGV: queue, key of the list of tickets, most running per tenant (0: any), how long tickets may be on their way, ms
go_on_when_full()
local queue, most_running, grace_ms = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local waiting, startable = 0, 0
for _, tenant in ipairs(redis.call('ZRANGE', turns_key(queue), 0, -1)) do
  local length = redis.call('ZCARD', line_key(queue, tenant))
  waiting = waiting + length
  if most_running > 0 then
    length = math.min(length, math.max(0, most_running - redis.call('ZCARD', index_key(tenant, 'state:' .. RUNNING))))
  end
  startable = startable + length
end
local tickets = redis.call('LLEN', ARGV[2])
if tickets >= startable then
  redis.call('DEL', short_key(queue))
  return {0, math.max(0, tickets - waiting)}
end
local now = now_ms()
redis.call('SET', short_key(queue), int(now), 'NX')
if now - tonumber(redis.call('GET', short_key(queue))) < grace_ms then return {0, 0} end
redis.call('DEL', short_key(queue))
return {startable - tickets, 0}
