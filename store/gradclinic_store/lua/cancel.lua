-- Cancels a diagnosis that is not finished. Answers {state before, record}, or nil when there is none.
-- ARGV: tenant, id, retention_ms
go_on_when_full()
local record = load(ARGV[2])
if not record or record.tenant ~= ARGV[1] then return nil end
local before = record.state
if not FINAL[before] then
  local now = now_ms()
  move(record, CANCELLED, now, {expire_ms = int(now + tonumber(ARGV[3]))})
end
return {before, whole(record.id)}
