-- Makes a complete, verified upload an artifact. Answers {artifact, expire_ms}, or nil when the upload is not ours any more.
-- ARGV: sha256, writer, artifact_retention_ms, prefix of the keys of chunks in Redis ('' when they are elsewhere)
local sha256 = ARGV[1]
local now = now_ms()
local expire_ms = int(now + tonumber(ARGV[3]))
local part = redis.call('HMGET', part_key(sha256), 'writer', 'received_bytes', 'size_bytes', 'blob', 'kind', 'format')
if redis.call('EXISTS', artifact_key(sha256)) == 1 then
  if part[1] == ARGV[2] then drop_part(sha256) end
  redis.call('ZADD', ARTIFACTS, expire_ms, sha256)
  return {redis.call('HGETALL', artifact_key(sha256)), expire_ms}
end
if part[1] ~= ARGV[2] or part[2] ~= part[3] then return nil end
if ARGV[4] ~= '' then
  local names = redis.call('LRANGE', chunks_key(part[4]), 0, -1)
  for _, name in ipairs(names) do
    if redis.call('EXISTS', ARGV[4] .. name) == 0 then return nil end
  end
  for _, name in ipairs(names) do redis.call('PERSIST', ARGV[4] .. name) end
end
redis.call('HSET', artifact_key(sha256), 'sha256', sha256, 'kind', part[5], 'format', part[6], 'size_bytes', part[3],
  'blob', part[4], 'create_ms', int(now))
redis.call('ZADD', ARTIFACTS, expire_ms, sha256)
redis.call('DEL', part_key(sha256))
redis.call('ZREM', PARTS, sha256)
return {redis.call('HGETALL', artifact_key(sha256)), expire_ms}
