-- Notes chunks that were written; 0 when another upload took over.
-- ARGV: sha256, writer, received_bytes before, bytes of these chunks, part_retention_ms, chunk names...
local key = part_key(ARGV[1])
local part = redis.call('HMGET', key, 'writer', 'received_bytes', 'blob')
if part[1] ~= ARGV[2] then return 0 end
if part[2] ~= ARGV[3] then
  return redis.call('LINDEX', chunks_key(part[3]), -1) == ARGV[#ARGV] and 1 or 0
end
redis.call('RPUSH', chunks_key(part[3]), unpack(ARGV, 6))
redis.call('HINCRBY', key, 'received_bytes', ARGV[4])
redis.call('ZADD', PARTS, int(now_ms() + tonumber(ARGV[5])), ARGV[1])
count('upload_bytes', ARGV[4])
return 1
