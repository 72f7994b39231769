-- Ends the current attempt without a result; 0 when it is not the current one any more.
-- ARGV: id, token, retention_ms, failure, quarantine_ms if the model brought its process down, else 0
go_on_when_full()
local record = load(ARGV[1])
if not record or record.token ~= ARGV[2] then return 0 end
if record.state == FAILED then return 1 end
if record.state ~= RUNNING then return 0 end
local now = now_ms()
blame(record, 1, tonumber(ARGV[5]))
move(record, FAILED, now, {failure = ARGV[4], expire_ms = int(now + tonumber(ARGV[3]))})
return 1
