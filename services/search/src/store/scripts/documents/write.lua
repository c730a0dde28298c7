-- search.write: puts documents of one partition into the live generation, and into the second if there is one.
--
-- KEYS[1] state of the partition (hash)   KEYS[2] expiries (zset)   KEYS[3] tombstones (hash)
-- KEYS[4] counters of the live generation (hash)   KEYS[5] counters of the second; the live one's if there is none
-- KEYS[6..] pairs of a document in the live generation and in the second; twice the live key if there is none
-- ARGV[1] epoch   ARGV[2] live generation   ARGV[3] second generation, '' for none
-- ARGV[4..] for each document: id, caller's version or '', expiry in ms or '', revision that it must have or '',
--   '' | 'D' no new document | 'B' no larger document, n and n field names and values; with a second generation then
--   n and n field names and values, or -1 and the reason why its schema has no place for the document
-- Reply: {'OK', for each document one of
--     {'CREATED' | 'UPDATED', revision, created, updated, replaced terms or '', those of the second or ''},
--     {'UNCHANGED', revision, created, updated}, {'OLDER', version}, {'CHANGED', revision or ''}, {'FULL'}}
--   | {'STALE'}
-- A retry is idempotent: it finds the same content, and changes nothing.
local stale = fence(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
if stale then return stale end
local second = ARGV[3] ~= ''
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local at = 4
local function take()
  at = at + 1
  return ARGV[at - 1]
end
local function fields()
  local n = tonumber(take())
  if n < 0 then return nil, take() end
  local from = at
  at = at + n
  return { unpack(ARGV, from, at - 1) }
end

local before = tonumber(redis.call('HGET', KEYS[1], 'rev') or '0')
local revision = before

local function store(doc, flat, old, exists)
  revision = revision + 1
  local created, stamp, changed = exists and old._c or whole(now), whole(revision), whole(now)
  if doc.expires ~= '' then
    redis.call('ZADD', KEYS[2], doc.expires, doc.id)
  elseif old._x then
    redis.call('ZREM', KEYS[2], doc.id)
  end
  local function complete(fields)
    local n = #fields
    fields[n + 1], fields[n + 2], fields[n + 3], fields[n + 4] = '_v', stamp, '_u', changed
    fields[n + 5], fields[n + 6] = '_c', created
    if doc.version ~= '' then fields[#fields + 1], fields[#fields + 2] = '_w', doc.version end
    if doc.expires ~= '' then fields[#fields + 1], fields[#fields + 2] = '_x', doc.expires end
    return fields
  end
  local terms = put(doc.key, KEYS[4], KEYS[1], ARGV[2], doc.id, complete(doc.live), flat) or ''
  local others = ''
  if doc.second then
    others = put(doc.second_key, KEYS[5], KEYS[1], ARGV[3], doc.id, complete(doc.second)) or ''
  elseif second then
    others = drop(doc.second_key, KEYS[5], KEYS[1], ARGV[3], doc.id) or ''
    redis.call('HSETNX', KEYS[1], 'bad:' .. ARGV[1], doc.reason)
  end
  return { exists and 'UPDATED' or 'CREATED', stamp, created, changed, terms, others }
end

local function write(doc)
  local flat, old = redis.call('HGETALL', doc.key), {}
  for i = 1, #flat, 2 do old[flat[i]] = flat[i + 1] end
  local exists = old._v and not (old._x and tonumber(old._x) * 1000 <= now)
  if doc.revision ~= '' and (not exists or old._v ~= doc.revision) then return { 'CHANGED', exists and old._v or '' } end
  local known = nil
  if exists then
    known = old._w
  elseif doc.version ~= '' then
    known = redis.call('HGET', KEYS[3], doc.id)
  end
  if doc.version ~= '' and known and tonumber(doc.version) < tonumber(known) then return { 'OLDER', known } end
  if exists and old._b == doc.body and (old._w or '') == doc.version and (old._x or '') == doc.expires then
    return { 'UNCHANGED', old._v, old._c, old._u }
  end
  if doc.room == 'D' and not exists then return { 'FULL' } end
  if doc.room == 'B' and #doc.body > (exists and #old._b or 0) then return { 'FULL' } end
  if known and not exists then redis.call('HDEL', KEYS[3], doc.id) end
  return store(doc, flat, old, exists)
end

local results = {}
for i = 6, #KEYS, 2 do
  local doc = { key = KEYS[i], second_key = KEYS[i + 1], id = take(), version = take(), expires = take() }
  doc.revision, doc.room = take(), take()
  doc.live = fields()
  if second then doc.second, doc.reason = fields() end
  for j = 1, #doc.live, 2 do
    if doc.live[j] == '_b' then doc.body = doc.live[j + 1] end
  end
  results[#results + 1] = write(doc)
end
if revision > before then redis.call('HSET', KEYS[1], 'rev', whole(revision)) end
flush()
return { 'OK', results }
