-- Ends an upload without an artifact. What others are at stays, for they may have left chunks out that this one stored.
-- ARGV: tenant, sha256, writer, what becomes of its chunks: 'kept' to be resumed, 'dropped' (it brought wrong bytes), or
--       'refuted' (it went on where an earlier one had ended, and either brought wrong bytes)
go_on_when_full()
local held, writer, what = holding(ARGV[1], ARGV[2]), ARGV[3], ARGV[4]
local key = part_key(held)
if redis.call('HDEL', key, 'writer:' .. writer) == 0 or what == 'kept' then return end
if writers(held, writer) == 1 then
  if what == 'refuted' then redis.call('HSET', key, 'refuted', '1') end -- nobody goes on from here any more
  return
end
if what == 'refuted' then return drop_part(held) end
local chunks = {}
each_chunk(held, function(field, ends, before, name, wrote)
  chunks[#chunks + 1] = {field = field, ends = ends, before = before, name = name, wrote = wrote}
end)
table.sort(chunks, function(a, b) return a.ends < b.ends end)
local kept, received, held_bytes = {[NOTHING_YET] = true}, 0, 0
for _, chunk in ipairs(chunks) do
  if chunk.wrote ~= writer and kept[chunk.before] then
    kept[chunk.field] = true
    received = chunk.ends
    held_bytes = held_bytes + chunk.ends - tonumber(string.match(chunk.before, '^%d+'))
  end
end
if received == 0 then return drop_part(held) end
for _, chunk in ipairs(chunks) do
  if not kept[chunk.field] then
    redis.call('HDEL', prefixes_key(held), chunk.field)
    redis.call('SADD', GARBAGE, chunk.name)
  end
end
redis.call('HSET', key, 'received_bytes', int(received), 'held_bytes', int(held_bytes))
