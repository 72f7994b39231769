-- Forgets a finished diagnosis: 'dropped', 'absent', 'not_finished' or 'kept' (its time is not over).
-- ARGV: id, the tenant that wants it dropped before its time, or '' for the reaper, which drops what is due,
--       nonce of this call, how long it is remembered in ms
go_on_when_full()
local id = ARGV[1]
local record = load(id)
if not record then
  redis.call('ZREM', RETENTION, id)
  -- The same call again, after its answer was lost.
  if ARGV[2] ~= '' and redis.call('GET', dropped_key(ARGV[2], id)) == ARGV[3] then return 'dropped' end
  return 'absent'
end
if ARGV[2] ~= '' and record.tenant ~= ARGV[2] then return 'absent' end
local tenant = record.tenant
if not FINAL[record.state] then return 'not_finished' end
local known = redis.call('HMGET', record_key(id), 'indexes', 'verdict', 'request_id', 'reuse', 'expire_ms', 'artifacts')
if ARGV[2] == '' and tonumber(known[5]) > now_ms() then return 'kept' end
for _, name in ipairs(cjson.decode(known[1])) do redis.call('ZREM', index_key(tenant, name), id) end
redis.call('ZREM', index_key(tenant, 'state:' .. record.state), id)
if known[2] then redis.call('ZREM', index_key(tenant, 'verdict:' .. known[2]), id) end
if known[3] ~= '' and redis.call('HGET', request_key(tenant, known[3]), 'id') == id then redis.call('DEL', request_key(tenant, known[3])) end
if redis.call('GET', reuse_key(tenant, known[4])) == id then redis.call('DEL', reuse_key(tenant, known[4])) end
redis.call('ZREM', RETENTION, id)
for sha256 in string.gmatch(known[6] or '', '%S+') do
  local held = holding(tenant, sha256)
  if redis.call('HINCRBY', NAMED, held, -1) <= 0 then
    redis.call('HDEL', NAMED, held)
    if ARGV[2] ~= '' then drop_artifact(held) end  -- who deletes wants it gone; else its own time decides
  end
end
redis.call('UNLINK', record_key(id), flow_key(tenant, id), events_key(tenant, id))
if ARGV[2] ~= '' then redis.call('SET', dropped_key(tenant, id), ARGV[3], 'PX', ARGV[4]) end
return 'dropped'
