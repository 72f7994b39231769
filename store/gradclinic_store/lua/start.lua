-- Gives the diagnosis whose turn it is to a worker, with a new fencing token. Answers with its record, or nil for none.
-- The turn is that of the tenant with the fewest running, among those of the one that was given the least time; within a
-- tenant, of the highest priority that waits longest.
-- One whose model is in quarantine by now fails instead.
-- ARGV: queue, ticket, worker id, nonce of this call, which becomes the fencing token, lease_ms, most running per tenant
--       (0: any), id ('' for whose turn it is), retention_ms and failure of one in quarantine ('' to run it all the same)
local queue, ticket, worker, nonce, lease_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local most_running, wanted = tonumber(ARGV[6]), ARGV[7]

local LOOKED_AT = 100 -- tenants that wait, of which the one with the fewest running is chosen; bounds how long this takes

local level -- the least time given to a tenant that waits

local function tenant_in_turn()
  local turns, position, waiting, chosen, fewest = turns_key(queue), 0, 0, nil, nil
  while true do
    local some = redis.call('ZRANGE', turns, position, position + LOOKED_AT - 1, 'WITHSCORES')
    if #some == 0 then return chosen end
    for i = 1, #some, 2 do
      local tenant = some[i]
      position = position + 1
      if redis.call('EXISTS', line_key(queue, tenant)) == 1 then
        if waiting == 0 then level = some[i + 1] end
        waiting = waiting + 1
        local running = redis.call('ZCARD', index_key(tenant, 'state:' .. RUNNING))
        if (most_running == 0 or running < most_running) and (not fewest or running < fewest) then
          chosen, fewest = tenant, running
        end
        if fewest == 0 or (chosen and waiting >= LOOKED_AT) then return chosen end
      elseif waiting == 0 then
        redis.call('ZREM', turns, tenant) -- it waits for nothing and has had no more than anybody: it begins level again
        position = position - 1
      end
    end
  end
end

local function next_id()
  local earlier = redis.call('GET', P .. 'started:' .. nonce) -- the answer to this very call was lost
  if earlier then return earlier end
  local tenant = tenant_in_turn()
  return tenant and redis.call('ZRANGE', line_key(queue, tenant), 0, 0)[1]
end

local id = wanted ~= '' and wanted or next_id()
local record = id and load(id)
if not record then return nil end
if record.state == RUNNING and record.nonce == nonce then return whole(id) end
if record.state ~= QUEUED then return nil end
local now = now_ms()
if ARGV[9] ~= '' and quarantine(record.tenant, model_of(record)) then
  move(record, FAILED, now, {failure = ARGV[9], expire_ms = int(now + tonumber(ARGV[8]))})
  return nil
end
record.attempt = int(tonumber(record.attempt) + 1)
record.progress = '0'
record.stage = '1'
local fields = {
  attempt = record.attempt, token = nonce, nonce = nonce, worker = worker, ticket = ticket,
  start_ms = int(now), progress = '0', stage = '1',
}
observe('wait', now - tonumber(record.queued_ms))
count('attempts')
move(record, RUNNING, now, fields)
if level then redis.call('SET', level_key(queue), level) end
redis.call('ZINCRBY', turns_key(record.queue), START_MS, record.tenant)
redis.call('ZADD', LEASES, int(now + lease_ms), id)
redis.call('SET', P .. 'started:' .. nonce, id, 'PX', 30000)
return whole(id)
