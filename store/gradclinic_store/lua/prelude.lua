-- What all scripts share: names of keys, legal transitions, and the one function that makes a transition.
-- Keys are made here and not passed in: one Redis holds a deployment; a cluster would need hash tags.
-- What a caller can name by itself (request ids, runs, labels, hashes) is told apart by tenant: a tenant's name has no colon.
local P = 'gradclinic:'

-- gradclinic.v1.DiagnosisState, as stored.
local QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED, EXPIRED = '1', '2', '3', '4', '5', '6'
local NAMES = {['1'] = 'queued', ['2'] = 'running', ['3'] = 'succeeded', ['4'] = 'failed', ['5'] = 'cancelled', ['6'] = 'expired'}
local FINAL = {['3'] = true, ['4'] = true, ['5'] = true, ['6'] = true}
local LEGAL = {
  ['1'] = {['2'] = true, ['4'] = true, ['5'] = true, ['6'] = true},
  ['2'] = {['1'] = true, ['3'] = true, ['4'] = true, ['5'] = true},
}

-- Upper edges of all histograms, in milliseconds; counters.py has the same in seconds.
local EDGES_MS = {5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 120000, 300000, 600000, 1800000, 3600000}

local EVENTS_KEPT = 1000
local EVENTS_AFTER_END_MS = 600000

local START_MS = 1000 -- what a start counts at least, in time given: so short runs take turns one by one
local PRIORITY_STEP = 1e12 -- in a line's ranks; above any sequence number

local function record_key(id) return P .. 'diagnosis:' .. id end
local function flow_key(tenant, id) return P .. 'flow:' .. tenant .. ':' .. id end
local function events_key(tenant, id) return P .. 'events:' .. tenant .. ':' .. id end
local function request_key(tenant, request_id) return P .. 'request:' .. tenant .. ':' .. request_id end
local function reuse_key(tenant, fingerprint) return P .. 'reuse:' .. tenant .. ':' .. fingerprint end
local function dropped_key(tenant, id) return P .. 'dropped:' .. tenant .. ':' .. id end
local function crashes_key(tenant, sha256) return P .. 'crashes:' .. tenant .. ':' .. sha256 end -- of a model, lately
local function index_key(tenant, name) return P .. 'index:' .. tenant .. ':' .. name end
local function waiting_key(queue) return P .. 'waiting:' .. queue end
local function line_key(queue, tenant) return P .. 'line:' .. queue .. ':' .. tenant end -- id -> rank: who may start, first one first
local function turns_key(queue) return P .. 'turns:' .. queue end -- tenant -> time that it was given, ms; see docs/decisions/store-fairness.md
local function level_key(queue) return P .. 'level:' .. queue end -- the least time given to a tenant that waits
local function short_key(queue) return P .. 'short:' .. queue end -- since when there have been too few tickets, ms
-- A holding is what one tenant has of an artifact, `tenant:sha256`; the bytes themselves are there once.
local function holding(tenant, sha256) return tenant .. ':' .. sha256 end
local function artifact_key(held) return P .. 'artifact:' .. held end
local function part_key(held) return P .. 'part:' .. held end
-- What uploads of a holding have stored so far, shared by all of them: `end:SHA-256 of all bytes up to there` -> `the same
-- of where the chunk begins, its name, who wrote it`. Uploads of the same bytes have the same fields, others never.
local function prefixes_key(held) return P .. 'prefixes:' .. held end
local NOTHING_YET = '0:' -- where the first chunk begins
local function bytes_key(sha256) return P .. 'bytes:' .. sha256 end
local function tenant_bytes_key(tenant) return P .. 'stored_bytes:' .. tenant end
local function chunks_key(blob) return P .. 'chunks:' .. blob end
local QUEUES = P .. 'queues'         -- set of queue names
local LEASES = P .. 'leases'         -- id -> when its worker counts as lost, ms
local DELAYED = P .. 'delayed'       -- id -> when it may be queued again, ms
local RETENTION = P .. 'retention'   -- id -> when it is dropped, ms
local COUNTERS = P .. 'counters'
local ARTIFACTS = P .. 'artifacts'   -- holding -> when it is dropped, ms
local PARTS = P .. 'parts'           -- holding that is being uploaded -> when that is dropped, ms
local STORED = P .. 'stored_bytes'   -- of all tenants, what they share counted once
local REFERENCES = P .. 'references' -- holding -> how many unfinished diagnoses need it
local NAMED = P .. 'named'           -- holding -> how many diagnoses name it, finished ones included
local GARBAGE = P .. 'garbage'       -- set of blobs, and of single chunks, whose bytes wait to be deleted

-- Numbers as text: Lua itself writes 1.7e+12, and -0 is none to Redis.
local function int(number) return string.format('%.0f', number + 0) end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A full Redis refuses a script's first write if that may take memory, and then no other one. What was accepted must be
-- able to end, and what is over to go: such scripts begin with a write that takes none.
local function go_on_when_full() redis.call('ZREM', DELAYED, '') end

-- What a script counts is written in one go when it ends, see `connection.source`.
local counted = {}
local function count(name, by) counted[name] = (counted[name] or 0) + (by or 1) end

local function write_counted()
  local names, flat = {}, {}
  for name in pairs(counted) do names[#names + 1] = name end
  if #names == 1 then return redis.call('HINCRBY', COUNTERS, names[1], counted[names[1]]) end
  if #names == 0 then return end
  for i, before in ipairs(redis.call('HMGET', COUNTERS, unpack(names))) do
    local total = tonumber(before or '0') + counted[names[i]]
    flat[2 * i - 1] = names[i]
    flat[2 * i] = string.match(names[i], ':sum_ms$') and string.format('%.3f', total) or int(total)
  end
  redis.call('HSET', COUNTERS, unpack(flat))
end

-- Adds to a number that is kept for each of some holdings; one that comes to nothing is forgotten.
local function add_to_each(key, holdings, by)
  if #holdings == 0 then return end
  local kept, none = {}, {}
  for i, before in ipairs(redis.call('HMGET', key, unpack(holdings))) do
    local total = tonumber(before or '0') + by
    if total > 0 then
      kept[#kept + 1] = holdings[i]
      kept[#kept + 1] = int(total)
    else
      none[#none + 1] = holdings[i]
    end
  end
  if #kept > 0 then redis.call('HSET', key, unpack(kept)) end
  if #none > 0 then redis.call('HDEL', key, unpack(none)) end
end

-- So many crashes of a model within the quarantine's time, and it is not run any more until that is over.
local CRASHES_BEFORE_QUARANTINE = 3

-- The hash of a diagnosis' model.
local function model_of(record) return string.match(record.artifacts or '', '^%S+') end

-- Remembers that a model brought its process down, or all workers that tried it.
local function blame(record, crashes, quarantine_ms)
  local model = model_of(record)
  if quarantine_ms <= 0 or not model then return end
  local key = crashes_key(record.tenant, model)
  redis.call('HINCRBY', key, 'count', crashes)
  redis.call('HSET', key, 'id', record.id)
  redis.call('PEXPIRE', key, int(quarantine_ms))
end

-- Who crashed last and how long a model stays in quarantine, in ms; nil when it is in none.
local function quarantine(tenant, model)
  if not model then return nil end
  local known = redis.call('HMGET', crashes_key(tenant, model), 'count', 'id')
  if not known[1] or tonumber(known[1]) < CRASHES_BEFORE_QUARANTINE then return nil end
  return known[2], redis.call('PTTL', crashes_key(tenant, model))
end

-- Adds one duration to the histogram `name`.
local function observe(name, duration_ms)
  if duration_ms < 0 then duration_ms = 0 end
  local bucket = 'inf'
  for _, edge in ipairs(EDGES_MS) do
    if duration_ms <= edge then bucket = int(edge) break end
  end
  count(name .. ':' .. bucket)
  count(name .. ':sum_ms', duration_ms)
end

-- Fields that transitions need, or nil when there is no such diagnosis.
local FIELDS = {'state', 'stage', 'progress', 'attempt', 'token', 'revision', 'seq', 'queue', 'queued_ms', 'start_ms', 'lost', 'nonce', 'tenant', 'priority', 'artifacts', 'reuse'}
local function load(id)
  local values = redis.call('HMGET', record_key(id), unpack(FIELDS))
  if not values[1] then return nil end
  local record = {id = id}
  for i, name in ipairs(FIELDS) do record[name] = values[i] end
  return record
end

local function whole(id) return redis.call('HGETALL', record_key(id)) end

-- Writes fields of a diagnosis, and tells followers how it now stands. `record` holds the new values. Answers with the
-- fields as a flat list.
local function tell(record, now, fields)
  record.revision = int(tonumber(record.revision) + 1)
  fields.revision = record.revision
  local flat = {}
  for name, value in pairs(fields) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  redis.call('HSET', record_key(record.id), unpack(flat))
  redis.call('XADD', events_key(record.tenant, record.id), 'MAXLEN', '~', EVENTS_KEPT, record.revision .. '-0',
    'state', record.state, 'stage', record.stage, 'progress', record.progress, 'attempt', record.attempt, 'time_ms', int(now))
  return flat
end

-- Lets a queued diagnosis start when it is its turn. A tenant that had nothing to wait for begins level with the others.
local function line_up(record)
  local line, turns = line_key(record.queue, record.tenant), turns_key(record.queue)
  if redis.call('EXISTS', line) == 0 then
    redis.call('ZADD', turns, 'GT', redis.call('GET', level_key(record.queue)) or '0', record.tenant)
  end
  redis.call('ZADD', line, tonumber(record.seq) - tonumber(record.priority or '0') * PRIORITY_STEP, record.id)
end

-- Counts what a run took beyond what its start has counted.
local function give_time(record, now)
  local more = now - tonumber(record.start_ms) - START_MS
  if more <= 0 then return end
  local turns = turns_key(record.queue)
  redis.call('ZADD', turns, 'GT', redis.call('GET', level_key(record.queue)) or '0', record.tenant)
  redis.call('ZINCRBY', turns, more, record.tenant)
end

-- Makes one legal transition: record, indexes, queue and lease sets, counters, event. `fields` are set with it.
local function move(record, to, now, fields)
  local from = record.state
  if not (LEGAL[from] and LEGAL[from][to]) then
    error('illegal transition ' .. from .. ' -> ' .. to)
  end
  fields.state = to
  record.state = to
  if to ~= RUNNING then
    fields.stage = '0'
    record.stage = '0'
  end
  redis.call('ZREM', index_key(record.tenant, 'state:' .. from), record.id)
  redis.call('ZADD', index_key(record.tenant, 'state:' .. to), record.seq, record.id)
  if from == QUEUED then
    redis.call('ZREM', waiting_key(record.queue), record.id)
    if redis.call('ZREM', line_key(record.queue, record.tenant), record.id) == 0 then redis.call('ZREM', DELAYED, record.id) end
  else
    redis.call('ZREM', LEASES, record.id)
    give_time(record, now)
  end
  if to == QUEUED then
    fields.queued_ms = int(now)
    redis.call('ZADD', waiting_key(record.queue), int(now), record.id)
  end
  if FINAL[to] then
    fields.end_ms = int(now)
    count('completed:' .. NAMES[to])
    if from == RUNNING then observe('run', now - tonumber(record.start_ms)) end
    redis.call('ZADD', RETENTION, fields.expire_ms, record.id)
    local needed = {}
    for sha256 in string.gmatch(record.artifacts or '', '%S+') do needed[#needed + 1] = holding(record.tenant, sha256) end
    add_to_each(REFERENCES, needed, -1)
  end
  tell(record, now, fields)
  -- Each stream takes 4 KiB at least; the last event can be read off the record.
  if FINAL[to] then redis.call('PEXPIRE', events_key(record.tenant, record.id), EVENTS_AFTER_END_MS) end
end

-- The tenant and the hash of a holding.
local function parts_of(held) return string.match(held, '^(.-):(%x+)$') end

-- Whether a tenant has an artifact. One whose bytes were lost is not there until somebody sends them again.
local function is_stored(held)
  local _, sha256 = parts_of(held)
  return redis.call('EXISTS', artifact_key(held)) == 1 and redis.call('HEXISTS', bytes_key(sha256), 'blob') == 1
end

-- Counts bytes of a tenant; a tenant that has none leaves no key.
local function charge(tenant, by)
  if redis.call('INCRBY', tenant_bytes_key(tenant), by) == 0 then redis.call('DEL', tenant_bytes_key(tenant)) end
end

-- Calls back with each chunk that uploads of a holding have stored: field, end in bytes, where it begins, name, writer.
local function each_chunk(held, call)
  local flat = redis.call('HGETALL', prefixes_key(held))
  for i = 1, #flat, 2 do
    local before, name, writer = string.match(flat[i + 1], '^(%S+) (%S+) (%S+)$')
    call(flat[i], tonumber(string.match(flat[i], '^%d+')), before, name, writer)
  end
end

-- Whether others than this writer are at uploads of a holding, 1 or 0. One whose process died counts until all is dropped.
local function writers(held, writer)
  for _, field in ipairs(redis.call('HKEYS', part_key(held))) do
    if string.sub(field, 1, 7) == 'writer:' and field ~= 'writer:' .. writer then return 1 end
  end
  return 0
end

-- Moves what uploads in progress have stored to the garbage.
local function drop_part(held)
  local part = redis.call('HMGET', part_key(held), 'blob', 'size_bytes')
  redis.call('ZREM', PARTS, held)
  if not part[1] then return end
  each_chunk(held, function(_, _, _, name) redis.call('RPUSH', chunks_key(part[1]), name) end)
  redis.call('SADD', GARBAGE, part[1])
  redis.call('DECRBY', STORED, part[2])
  charge(parts_of(held), int(-part[2]))
  redis.call('DEL', part_key(held), prefixes_key(held))
end

-- Moves the bytes of an artifact to the garbage, unless they are gone already.
local function drop_bytes(sha256)
  local bytes = redis.call('HMGET', bytes_key(sha256), 'blob', 'size_bytes')
  if not bytes[1] then return end
  redis.call('HDEL', bytes_key(sha256), 'blob')
  redis.call('SADD', GARBAGE, bytes[1])
  redis.call('DECRBY', STORED, bytes[2])
end

-- Forgets what a tenant has of an artifact; the bytes go to the garbage with the last one that has them.
local function drop_artifact(held)
  redis.call('ZREM', ARTIFACTS, held)
  local size = redis.call('HGET', artifact_key(held), 'size_bytes')
  if not size then return end
  local tenant, sha256 = parts_of(held)
  charge(tenant, int(-size))
  redis.call('DEL', artifact_key(held))
  if redis.call('HINCRBY', bytes_key(sha256), 'holders', -1) > 0 then return end
  drop_bytes(sha256)
  redis.call('DEL', bytes_key(sha256))
end

-- The holdings to evict so that `own` bytes of the tenant and `all` bytes of the store come free; nil and where they do
-- not when that cannot be.
local function evictable(tenant, own, all, unused_until_ms)
  local chosen, gone, start = {}, {}, 0
  while own > 0 or all > 0 do
    local batch = redis.call('ZRANGEBYSCORE', ARTIFACTS, '-inf', int(unused_until_ms), 'LIMIT', start, 100)
    if #batch == 0 then return nil, all > 0 and 'all' or 'tenant' end
    start = start + #batch
    for _, held in ipairs(batch) do
      local owner, sha256 = parts_of(held)
      if (all > 0 or (own > 0 and owner == tenant)) and redis.call('HEXISTS', REFERENCES, held) == 0 then
        local size = tonumber(redis.call('HGET', artifact_key(held), 'size_bytes') or '0')
        chosen[#chosen + 1] = held
        if owner == tenant then own = own - size end
        gone[sha256] = (gone[sha256] or 0) + 1
        local bytes = redis.call('HMGET', bytes_key(sha256), 'holders', 'blob')
        if bytes[2] and gone[sha256] == tonumber(bytes[1]) then all = all - size end
      end
    end
  end
  return chosen
end

-- Takes room for bytes of a tenant: nil, or whose room has too little left. `limits`: max_stored_bytes,
-- tenant_max_stored_bytes, artifact_retention_ms, idle_ms. Artifacts that nobody needs or used lately make room, the
-- longest unused first: a tenant at its own limit loses its own. Bytes that other tenants have count as if they were not there.
local function take_room(tenant, bytes, limits)
  local all = tonumber(redis.call('GET', STORED) or '0') + bytes - limits[1]
  local own = tonumber(redis.call('GET', tenant_bytes_key(tenant)) or '0') + bytes - limits[2]
  -- When it expires tells when it was last used.
  local evicted, where = evictable(tenant, own, all, now_ms() + limits[3] - limits[4])
  if not evicted then return where end
  for _, unused in ipairs(evicted) do
    drop_artifact(unused)
    count('evictions')
  end
  redis.call('INCRBY', STORED, int(bytes))
  charge(tenant, int(bytes))
end
