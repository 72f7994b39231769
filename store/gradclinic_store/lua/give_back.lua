-- Queues the diagnosis of the current attempt again; answers {queue, attempt}, or nil when it is not the current one.
-- ARGV: id, token
go_on_when_full()
local record = load(ARGV[1])
if not record or record.token ~= ARGV[2] then return nil end
if record.state == QUEUED then return {record.queue, record.attempt} end  -- the same call again, after its answer was lost
if record.state ~= RUNNING then return nil end
record.progress = '0'
move(record, QUEUED, now_ms(), {progress = '0'})
return {record.queue, record.attempt}
