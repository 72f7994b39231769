-- Answers with the bytes of artifacts that are one chunk in Redis; false for each that is not, or not there.
-- ARGV: largest size in bytes, sha256...
local answers, places, keys = {}, {}, {}
for i = 2, #ARGV do
  answers[i - 1] = false
  local known = redis.call('HMGET', bytes_key(ARGV[i]), 'blob', 'size_bytes')
  if known[1] and tonumber(known[2]) <= tonumber(ARGV[1]) then
    local names = redis.call('LRANGE', chunks_key(known[1]), 0, 1)
    if #names == 1 then
      places[#places + 1] = i - 1
      keys[#keys + 1] = P .. 'chunk:' .. names[1]
    end
  end
end
if #keys > 0 then
  for i, bytes in ipairs(redis.call('MGET', unpack(keys))) do answers[places[i]] = bytes end
end
return answers
