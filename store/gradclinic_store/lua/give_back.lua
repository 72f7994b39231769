-- Queues the diagnosis of the current attempt again; answers with its queue, or nil when it is not the current one.
-- ARGV: id, token
go_on_when_full()
local record = load(ARGV[1])
if not record or record.token ~= ARGV[2] then return nil end
if record.state == QUEUED then return record.queue end  -- the same call again, after its answer was lost
if record.state ~= RUNNING then return nil end
record.progress = '0'
move(record, QUEUED, now_ms(), {progress = '0'})
line_up(record)
return record.queue
