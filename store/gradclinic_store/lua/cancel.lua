-- Cancels a diagnosis that is not finished. Answers {state before, record}, or nil when there is none.
-- ARGV: id, retention_ms
local record = load(ARGV[1])
if not record then return nil end
local before = record.state
if not FINAL[before] then
  local now = now_ms()
  move(record, CANCELLED, now, {expire_ms = int(now + tonumber(ARGV[2]))})
end
return {before, whole(ARGV[1])}
