-- Makes a complete, verified upload an artifact of its tenant. Answers {artifact, expire_ms}, or nil when the upload is
-- not ours any more. Where another tenant has the same bytes, these ones are dropped: they are kept once.
-- ARGV: tenant, sha256, writer, artifact_retention_ms, prefix of the keys of chunks in Redis ('' when they are elsewhere)
local sha256 = ARGV[2]
local held = holding(ARGV[1], sha256)
local now = now_ms()
local expire_ms = int(now + tonumber(ARGV[4]))
local part = redis.call('HMGET', part_key(held), 'writer', 'received_bytes', 'size_bytes', 'blob', 'kind', 'format')
if redis.call('EXISTS', artifact_key(held)) == 1 then
  if part[1] == ARGV[3] then drop_part(held) end
  redis.call('ZADD', ARTIFACTS, expire_ms, held)
  return {redis.call('HGETALL', artifact_key(held)), expire_ms}
end
if part[1] ~= ARGV[3] or part[2] ~= part[3] then return nil end
if ARGV[5] ~= '' then
  local names = redis.call('LRANGE', chunks_key(part[4]), 0, -1)
  for _, name in ipairs(names) do
    if redis.call('EXISTS', ARGV[5] .. name) == 0 then return nil end
  end
  for _, name in ipairs(names) do redis.call('PERSIST', ARGV[5] .. name) end
end
if redis.call('EXISTS', bytes_key(sha256)) == 1 then
  redis.call('SADD', GARBAGE, part[4])
  redis.call('DECRBY', STORED, part[3])
else
  redis.call('HSET', bytes_key(sha256), 'blob', part[4], 'size_bytes', part[3])
end
redis.call('HINCRBY', bytes_key(sha256), 'holders', 1)
redis.call('HSET', artifact_key(held), 'sha256', sha256, 'kind', part[5], 'format', part[6], 'size_bytes', part[3],
  'create_ms', int(now))
redis.call('ZADD', ARTIFACTS, expire_ms, held)
redis.call('DEL', part_key(held))
redis.call('ZREM', PARTS, held)
return {redis.call('HGETALL', artifact_key(held)), expire_ms}
