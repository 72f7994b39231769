-- Cancels a diagnosis that is not finished. Answers {state before, whether a ticket called for it, record}, or nil.
-- ARGV: tenant, id, retention_ms
go_on_when_full()
local record = load(ARGV[2])
if not record or record.tenant ~= ARGV[1] then return nil end
local before = record.state
local lined_up = redis.call('ZSCORE', line_key(record.queue, record.tenant), record.id) and 1 or 0
if not FINAL[before] then
  local now = now_ms()
  move(record, CANCELLED, now, {expire_ms = int(now + tonumber(ARGV[3]))})
end
return {before, lined_up, whole(record.id)}
