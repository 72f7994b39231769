-- Drops artifacts that nobody needs or used lately, the longest unused first, until so many bytes come free, or none is
-- left to drop: records have a right to the memory, artifacts that wait to be used once more have not.
-- ARGV: bytes, artifact_retention_ms, idle_ms
go_on_when_full()
local left, start = tonumber(ARGV[1]), 0
local unused_until_ms = int(now_ms() + tonumber(ARGV[2]) - tonumber(ARGV[3]))
while left > 0 do
  local batch = redis.call('ZRANGEBYSCORE', ARTIFACTS, '-inf', unused_until_ms, 'LIMIT', start, 100)
  if #batch == 0 then return end
  for _, held in ipairs(batch) do
    if left <= 0 then return end
    if redis.call('HEXISTS', REFERENCES, held) == 1 then
      start = start + 1
    else
      local stored = tonumber(redis.call('GET', STORED) or '0')
      drop_artifact(held)
      count('evictions')
      left = left - stored + tonumber(redis.call('GET', STORED) or '0')
    end
  end
end
