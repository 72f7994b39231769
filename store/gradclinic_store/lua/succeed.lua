-- Stores the result of the current attempt; 0 when it is not the current one any more.
-- ARGV: id, token, retention_ms, summary, flow, brief, verdict, number of findings, (code, severity)..., (stage, ms)...
local record = load(ARGV[1])
if not record or record.token ~= ARGV[2] then return 0 end
if record.state == SUCCEEDED then return 1 end
if record.state ~= RUNNING then return 0 end
-- A full Redis lets this go on, since what `move` writes first takes no memory.
local now = now_ms()
local expire_ms = int(now + tonumber(ARGV[3]))
local verdict, finding_count = ARGV[7], tonumber(ARGV[8])
record.progress = '1'
move(record, SUCCEEDED, now, {summary = ARGV[4], brief = ARGV[6], verdict = verdict, progress = '1', expire_ms = expire_ms})
redis.call('SET', flow_key(record.tenant, record.id), ARGV[5])
redis.call('ZADD', index_key(record.tenant, 'verdict:' .. verdict), record.seq, record.id)
redis.call('SET', reuse_key(record.tenant, record.reuse), record.id)
local next = 9
for _ = 1, finding_count do
  count('findings:' .. ARGV[next + 1] .. ':' .. ARGV[next])
  next = next + 2
end
while ARGV[next] do
  observe('stage:' .. ARGV[next], tonumber(ARGV[next + 1]))
  next = next + 2
end
return 1
