-- Gives a queued diagnosis to a worker, with a new fencing token. Answers with its record, or nil when it is not queued.
-- ARGV: id, worker id, nonce of this call, lease_ms
go_on_when_full()
local id, worker, nonce, lease_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local record = load(id)
if not record then return nil end
if record.state == RUNNING and record.nonce == nonce then return whole(id) end
if record.state ~= QUEUED then return nil end
local now = now_ms()
record.attempt = int(tonumber(record.attempt) + 1)
record.progress = '0'
record.stage = '1'
local fields = {
  attempt = record.attempt, token = redis.call('INCR', P .. 'token'), nonce = nonce, worker = worker,
  start_ms = int(now), progress = '0', stage = '1',
}
observe('wait', now - tonumber(record.queued_ms))
count('attempts')
move(record, RUNNING, now, fields)
redis.call('ZADD', LEASES, int(now + lease_ms), id)
return whole(id)
