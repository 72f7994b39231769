-- Makes the chunks of a verified upload an artifact of its tenant, and ends all other uploads of it. Answers {artifact,
-- expire_ms}, or nil when they are not all there. Where another tenant has the same bytes, these ones are dropped: they are
-- kept once.
-- ARGV: tenant, sha256, kind, format, size_bytes, artifact_retention_ms, prefix of the keys of chunks in Redis ('' when they
--       are elsewhere)
local sha256, size, chunk_prefix = ARGV[2], ARGV[5], ARGV[7]
local held = holding(ARGV[1], sha256)
local now = now_ms()
local expire_ms = int(now + tonumber(ARGV[6]))
if is_stored(held) then
  drop_part(held)
  redis.call('ZADD', ARTIFACTS, expire_ms, held)
  return {redis.call('HGETALL', artifact_key(held)), expire_ms}
end
local part = redis.call('HMGET', part_key(held), 'size_bytes', 'blob')
if not part[1] then return nil end
local chain, in_chain, at = {}, {}, size == '0' and NOTHING_YET or size .. ':' .. sha256
while at ~= NOTHING_YET do
  local before, name = string.match(redis.call('HGET', prefixes_key(held), at) or '', '^(%S+) (%S+)')
  if not name or (chunk_prefix ~= '' and redis.call('EXISTS', chunk_prefix .. name) == 0) then return nil end
  chain[#chain + 1] = name
  in_chain[name] = true
  at = before
end
local is_new = redis.call('EXISTS', artifact_key(held)) == 0 -- else its bytes were lost
if redis.call('HEXISTS', bytes_key(sha256), 'blob') == 1 then
  drop_part(held)
else
  each_chunk(held, function(_, _, _, name) if not in_chain[name] then redis.call('SADD', GARBAGE, name) end end)
  for _, name in ipairs(chain) do
    redis.call('LPUSH', chunks_key(part[2]), name)
    if chunk_prefix ~= '' then redis.call('PERSIST', chunk_prefix .. name) end
  end
  redis.call('DEL', part_key(held), prefixes_key(held))
  redis.call('ZREM', PARTS, held)
  redis.call('HSET', bytes_key(sha256), 'blob', part[2], 'size_bytes', size)
  redis.call('INCRBY', STORED, int(size - part[1]))
  charge(ARGV[1], int(-part[1]))
end
if is_new then
  charge(ARGV[1], int(size))
  redis.call('HINCRBY', bytes_key(sha256), 'holders', 1)
  redis.call('HSET', artifact_key(held), 'sha256', sha256, 'kind', ARGV[3], 'format', ARGV[4], 'size_bytes', size, 'create_ms', int(now))
end
redis.call('ZADD', ARTIFACTS, expire_ms, held)
return {redis.call('HGETALL', artifact_key(held)), expire_ms}
