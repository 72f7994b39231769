-- Notes chunks that were written; 0 when another upload took over.
-- ARGV: tenant, sha256, writer, received_bytes before, bytes of these chunks, part_retention_ms, chunk names...
local held = holding(ARGV[1], ARGV[2])
local key = part_key(held)
local part = redis.call('HMGET', key, 'writer', 'received_bytes', 'blob')
if part[1] ~= ARGV[3] then return 0 end
if part[2] ~= ARGV[4] then
  return redis.call('LINDEX', chunks_key(part[3]), -1) == ARGV[#ARGV] and 1 or 0
end
redis.call('RPUSH', chunks_key(part[3]), unpack(ARGV, 7))
redis.call('HINCRBY', key, 'received_bytes', ARGV[5])
redis.call('ZADD', PARTS, int(now_ms() + tonumber(ARGV[6])), held)
count('upload_bytes', ARGV[5])
return 1
