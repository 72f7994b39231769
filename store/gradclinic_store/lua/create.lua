-- Accepts a diagnosis, once per request id.
-- ARGV: tenant, id, request_id, fingerprint of the whole request, fingerprint for reuse, allow_reuse, spec, queue,
--       priority, request_retention_ms, artifact_retention_ms, max_queued, number of artifacts, sha256..., index names...
local tenant, id, request_id, fingerprint, reuse, allow_reuse = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local spec, queue, priority = ARGV[7], ARGV[8], ARGV[9]
local request_retention_ms, artifact_retention_ms = ARGV[10], tonumber(ARGV[11])
local max_queued, artifact_count = tonumber(ARGV[12]), tonumber(ARGV[13])
local first_artifact = 14
local now = now_ms()

-- The same call again, after its answer was lost.
if redis.call('EXISTS', record_key(id)) == 1 then return {'created', whole(id)} end

if request_id ~= '' then
  local known = redis.call('HMGET', request_key(tenant, request_id), 'id', 'fingerprint')
  if known[1] and redis.call('EXISTS', record_key(known[1])) == 1 then
    if known[2] ~= fingerprint then return {'request_id_reused'} end
    count('deduplicated')
    return {'known', whole(known[1])}
  end
end

if allow_reuse == '1' then
  local earlier = redis.call('GET', reuse_key(tenant, reuse))
  if earlier and redis.call('HGET', record_key(earlier), 'state') == SUCCEEDED then
    if request_id ~= '' then
      redis.call('HSET', request_key(tenant, request_id), 'id', earlier, 'fingerprint', fingerprint)
      redis.call('PEXPIRE', request_key(tenant, request_id), request_retention_ms)
    end
    count('deduplicated')
    return {'reused', whole(earlier)}
  end
end

for i = first_artifact, first_artifact + artifact_count - 1 do
  if redis.call('EXISTS', artifact_key(holding(tenant, ARGV[i]))) == 0 then return {'no_artifact', ARGV[i]} end
end

redis.call('SADD', QUEUES, queue)
local waiting = 0
for _, name in ipairs(redis.call('SMEMBERS', QUEUES)) do
  waiting = waiting + redis.call('ZCARD', waiting_key(name))
end
if waiting >= max_queued then return {'queue_full'} end

local artifacts, indexes = {}, {}
for i = first_artifact, first_artifact + artifact_count - 1 do
  local held = holding(tenant, ARGV[i])
  artifacts[#artifacts + 1] = ARGV[i]
  redis.call('ZADD', ARTIFACTS, 'GT', int(now + artifact_retention_ms), held)
  redis.call('HINCRBY', REFERENCES, held, 1)
  redis.call('HINCRBY', NAMED, held, 1)
end
-- Each tenant counts for itself: page tokens tell nothing of the others.
local seq = redis.call('INCR', P .. 'sequence:' .. tenant)
for i = first_artifact + artifact_count, #ARGV do
  indexes[#indexes + 1] = ARGV[i]
  redis.call('ZADD', index_key(tenant, ARGV[i]), seq, id)
end
redis.call('ZADD', index_key(tenant, 'state:' .. QUEUED), seq, id)
redis.call('ZADD', waiting_key(queue), int(now), id)
local record = {id = id, tenant = tenant, queue = queue, seq = seq, priority = priority, state = QUEUED, stage = '0', progress = '0', attempt = '0', revision = '0'}
redis.call('HSET', record_key(id), 'id', id, 'tenant', tenant, 'spec', spec, 'state', QUEUED, 'stage', '0', 'progress', '0', 'attempt', '0',
  'token', '0', 'seq', seq, 'queue', queue, 'create_ms', int(now), 'queued_ms', int(now), 'lost', '0',
  'request_id', request_id, 'reuse', reuse, 'indexes', cjson.encode(indexes),
  'artifacts', table.concat(artifacts, ' '), 'priority', priority)
line_up(record)
if request_id ~= '' then
  redis.call('HSET', request_key(tenant, request_id), 'id', id, 'fingerprint', fingerprint)
  redis.call('PEXPIRE', request_key(tenant, request_id), request_retention_ms)
end
count('submitted')
tell(record, now)
return {'created', whole(id)}
