-- Queues the diagnosis of the current attempt again; answers {queue, attempt}, or nil when it is not the current one.
-- ARGV: id, token
local record = load(ARGV[1])
if not record or record.token ~= ARGV[2] or record.state ~= RUNNING then return nil end
record.progress = '0'
move(record, QUEUED, now_ms(), {progress = '0'})
return {record.queue, record.attempt}
