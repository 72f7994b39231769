-- Accepts a diagnosis, once per request id, within the limits: a refusal is {'limit', its name, whose it is, retry in ms}.
-- ARGV: tenant, id, request_id, fingerprint of the whole request, fingerprint for reuse, allow_reuse, spec, queue,
--       priority, request_retention_ms, artifact_retention_ms, limits as JSON, number of artifacts, sha256..., index names...
local tenant, id, request_id, fingerprint, reuse, allow_reuse = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local spec, queue, priority = ARGV[7], ARGV[8], ARGV[9]
local request_retention_ms, artifact_retention_ms = ARGV[10], tonumber(ARGV[11])
local limits, artifact_count = cjson.decode(ARGV[12]), tonumber(ARGV[13])
local first_artifact = 14
local now = now_ms()
local queue_known = false

local QUEUE_RETRY_MS, MEMORY_RETRY_MS = 5000, 10000
local BUCKETS = { -- each is one text, `tokens at_ms`
  {key = P .. 'rate:' .. tenant, name = 'tenant_submissions_per_second', scope = 'tenant'},
  {key = P .. 'rate', name = 'submissions_per_second', scope = 'all'},
}

-- Takes one of the tokens that fill each bucket at its rate, up to a burst; answers with a refusal where there is none.
local function too_often()
  local before = redis.call('MGET', BUCKETS[1].key, BUCKETS[2].key)
  for i, bucket in ipairs(BUCKETS) do
    local rate = limits[bucket.name]
    if rate > 0 then
      local most = math.max(1, rate * limits.submission_burst_seconds)
      local tokens, at_ms = string.match(before[i] or '', '(%S+) (%S+)')
      local filled = tokens and tokens + math.max(0, now - at_ms) / 1000 * rate or most
      bucket.left = math.min(most, filled) - 1
      if bucket.left < 0 then return {'limit', bucket.name, bucket.scope, math.ceil(-bucket.left / rate * 1000)} end
    end
  end
  for _, bucket in ipairs(BUCKETS) do
    if bucket.left then
      local full_ms = int((limits.submission_burst_seconds + 1 / limits[bucket.name]) * 1000)
      redis.call('SET', bucket.key, string.format('%.6f %.0f', bucket.left, now), 'PX', full_ms)
    end
  end
end

-- Whether one more may wait.
local function too_many()
  local waiting = 0
  for _, name in ipairs(redis.call('SMEMBERS', QUEUES)) do
    waiting = waiting + redis.call('ZCARD', waiting_key(name))
    queue_known = queue_known or name == queue
  end
  if waiting >= limits.max_queued then return {'limit', 'max_queued', 'all', QUEUE_RETRY_MS} end
  if redis.call('ZCARD', index_key(tenant, 'state:' .. QUEUED)) >= limits.tenant_max_queued then
    return {'limit', 'tenant_max_queued', 'tenant', QUEUE_RETRY_MS}
  end
  if limits.memory_short then return {'limit', 'redis_memory', 'all', MEMORY_RETRY_MS} end
end

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
    local refused = too_often()
    if refused then return refused end
    if request_id ~= '' then
      redis.call('HSET', request_key(tenant, request_id), 'id', earlier, 'fingerprint', fingerprint)
      redis.call('PEXPIRE', request_key(tenant, request_id), request_retention_ms)
    end
    count('deduplicated')
    return {'reused', whole(earlier)}
  end
end

if limits.no_device then return {'no_device'} end

local artifacts, holdings, indexes = {}, {}, {}
for i = first_artifact, first_artifact + artifact_count - 1 do
  artifacts[#artifacts + 1] = ARGV[i]
  holdings[#holdings + 1] = holding(tenant, ARGV[i])
end
if #holdings > 0 then
  for i, expire_ms in ipairs(redis.call('ZMSCORE', ARTIFACTS, unpack(holdings))) do
    if not expire_ms or redis.call('HEXISTS', bytes_key(artifacts[i]), 'blob') == 0 then
      return {'no_artifact', artifacts[i]}
    end
  end
end

if limits.quarantine and artifact_count > 0 then
  local culprit, remaining_ms = quarantine(tenant, ARGV[first_artifact])
  if culprit then return {'quarantined', culprit, remaining_ms} end
end

local refused = too_many() or too_often()
if refused then return refused end
if not queue_known then redis.call('SADD', QUEUES, queue) end

if #holdings > 0 then
  local kept_until = {}
  for i, held in ipairs(holdings) do
    kept_until[2 * i - 1] = int(now + artifact_retention_ms)
    kept_until[2 * i] = held
  end
  redis.call('ZADD', ARTIFACTS, 'GT', unpack(kept_until))
  add_to_each(REFERENCES, holdings, 1)
  add_to_each(NAMED, holdings, 1)
end
-- Each tenant counts for itself: page tokens tell nothing of the others.
local seq = int(redis.call('INCR', P .. 'sequence:' .. tenant))
for i = first_artifact + artifact_count, #ARGV do
  indexes[#indexes + 1] = ARGV[i]
  redis.call('ZADD', index_key(tenant, ARGV[i]), seq, id)
end
redis.call('ZADD', index_key(tenant, 'state:' .. QUEUED), seq, id)
redis.call('ZADD', waiting_key(queue), int(now), id)
local record = {
  id = id, tenant = tenant, queue = queue, seq = seq, priority = priority, state = QUEUED, stage = '0', progress = '0',
  attempt = '0', token = '0', lost = '0', revision = '0', spec = spec, create_ms = int(now), queued_ms = int(now),
  request_id = request_id, reuse = reuse, indexes = cjson.encode(indexes), artifacts = table.concat(artifacts, ' '),
}
line_up(record)
if request_id ~= '' then
  redis.call('HSET', request_key(tenant, request_id), 'id', id, 'fingerprint', fingerprint)
  redis.call('PEXPIRE', request_key(tenant, request_id), request_retention_ms)
end
count('submitted')
return {'created', tell(record, now, record)}
