-- Accepts a diagnosis, once per request id.
-- ARGV: id, request_id, fingerprint of the whole request, fingerprint for reuse, allow_reuse, spec, queue,
--       max_queued, request_retention_ms, artifact_retention_ms, number of artifacts, sha256..., index names...
local id, request_id, fingerprint, reuse, allow_reuse = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local spec, queue, max_queued = ARGV[6], ARGV[7], tonumber(ARGV[8])
local request_retention_ms, artifact_retention_ms = ARGV[9], tonumber(ARGV[10])
local artifact_count = tonumber(ARGV[11])
local now = now_ms()

-- The same call again, after its answer was lost.
if redis.call('EXISTS', record_key(id)) == 1 then return {'created', whole(id)} end

if request_id ~= '' then
  local known = redis.call('HMGET', request_key(request_id), 'id', 'fingerprint')
  if known[1] and redis.call('EXISTS', record_key(known[1])) == 1 then
    if known[2] ~= fingerprint then return {'request_id_reused'} end
    count('deduplicated')
    return {'known', whole(known[1])}
  end
end

if allow_reuse == '1' then
  local earlier = redis.call('GET', reuse_key(reuse))
  if earlier and redis.call('HGET', record_key(earlier), 'state') == SUCCEEDED then
    if request_id ~= '' then
      redis.call('HSET', request_key(request_id), 'id', earlier, 'fingerprint', fingerprint)
      redis.call('PEXPIRE', request_key(request_id), request_retention_ms)
    end
    count('deduplicated')
    return {'reused', whole(earlier)}
  end
end

for i = 12, 11 + artifact_count do
  if redis.call('EXISTS', artifact_key(ARGV[i])) == 0 then return {'no_artifact', ARGV[i]} end
end

redis.call('SADD', QUEUES, queue)
local waiting = 0
for _, name in ipairs(redis.call('SMEMBERS', QUEUES)) do
  waiting = waiting + redis.call('ZCARD', waiting_key(name))
end
if waiting >= max_queued then return {'queue_full'} end

local artifacts, indexes = {}, {}
for i = 12, 11 + artifact_count do
  artifacts[#artifacts + 1] = ARGV[i]
  redis.call('ZADD', ARTIFACTS, 'GT', int(now + artifact_retention_ms), ARGV[i])
  redis.call('HINCRBY', REFERENCES, ARGV[i], 1)
end
local seq = redis.call('INCR', P .. 'sequence')
for i = 12 + artifact_count, #ARGV do
  indexes[#indexes + 1] = ARGV[i]
  redis.call('ZADD', index_key(ARGV[i]), seq, id)
end
redis.call('ZADD', index_key('state:' .. QUEUED), seq, id)
redis.call('ZADD', waiting_key(queue), int(now), id)
local record = {id = id, state = QUEUED, stage = '0', progress = '0', attempt = '0', revision = '0'}
redis.call('HSET', record_key(id), 'id', id, 'spec', spec, 'state', QUEUED, 'stage', '0', 'progress', '0', 'attempt', '0',
  'token', '0', 'seq', seq, 'queue', queue, 'create_ms', int(now), 'queued_ms', int(now), 'lost', '0',
  'request_id', request_id, 'reuse', reuse, 'indexes', cjson.encode(indexes),
  'artifacts', table.concat(artifacts, ' '))
if request_id ~= '' then
  redis.call('HSET', request_key(request_id), 'id', id, 'fingerprint', fingerprint)
  redis.call('PEXPIRE', request_key(request_id), request_retention_ms)
end
count('submitted')
tell(record, now)
return {'created', whole(id)}
