-- search.write: puts documents of one partition into the live generation, and into the second if there is one.
--
-- KEYS[1] state of the partition (hash)   KEYS[2] expiries (zset)   KEYS[3] tombstones (hash)
-- KEYS[4] counters of the live generation (hash)   KEYS[5] counters of the second; the live one's if there is none
-- KEYS[6..] documents in the live generation; each before the same one in the second, if there is one
-- ARGV[1] epoch   ARGV[2] live generation   ARGV[3] second generation, '' for none
-- ARGV[4..] for each document an array in MessagePack: id, caller's version or '', expiry in ms or '', revision that it must have
--   or '', '' | 'D' no new document | 'B' no larger document, array of field names and values, _b first; with a second
--   generation also its array of names and values, or the reason why its schema has no place for the document
-- Reply: {'OK', for each document one of
--     {'CREATED' | 'UPDATED', revision, created, updated, replaced terms or '', those of the second or ''},
--     {'UNCHANGED', revision, created, updated}, {'OLDER', version}, {'CHANGED', revision or ''}, {'FULL'}}
--   | {'STALE'}
-- A retry is idempotent: it finds the same content, and changes nothing.
local stale = fence(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
if stale then return stale end
local second = ARGV[3] ~= ''
local time = call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local before = tonumber(call('HGET', KEYS[1], 'rev') or '0')
local revision = before

local function store(doc, flat, old, exists)
  revision = revision + 1
  local created, stamp, changed = exists and old._c or whole(now), whole(revision), whole(now)
  if doc.expires ~= '' then
    call('ZADD', KEYS[2], doc.expires, doc.id)
  elseif old._x then
    call('ZREM', KEYS[2], doc.id)
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
  if type(doc.second) == 'table' then
    others = put(doc.second_key, KEYS[5], KEYS[1], ARGV[3], doc.id, complete(doc.second)) or ''
  elseif second then
    others = drop(doc.second_key, KEYS[5], KEYS[1], ARGV[3], doc.id) or ''
    call('HSETNX', KEYS[1], 'bad:' .. ARGV[1], doc.second)
  end
  return { exists and 'UPDATED' or 'CREATED', stamp, created, changed, terms, others }
end

local function write(doc)
  local flat, old = call('HGETALL', doc.key), {}
  for i = 1, #flat, 2 do old[flat[i]] = flat[i + 1] end
  local exists = old._v and not (old._x and tonumber(old._x) * 1000 <= now)
  if doc.revision ~= '' and (not exists or old._v ~= doc.revision) then return { 'CHANGED', exists and old._v or '' } end
  local known = nil
  if exists then
    known = old._w
  elseif doc.version ~= '' then
    known = call('HGET', KEYS[3], doc.id)
  end
  if doc.version ~= '' and known and tonumber(doc.version) < tonumber(known) then return { 'OLDER', known } end
  if exists and old._b == doc.body and (old._w or '') == doc.version and (old._x or '') == doc.expires then
    return { 'UNCHANGED', old._v, old._c, old._u }
  end
  if doc.room == 'D' and not exists then return { 'FULL' } end
  if doc.room == 'B' and #doc.body > (exists and #old._b or 0) then return { 'FULL' } end
  if known and not exists then call('HDEL', KEYS[3], doc.id) end
  return store(doc, flat, old, exists)
end

local results, stride = {}, second and 2 or 1
for i = 4, #ARGV do
  local at, doc = 6 + (i - 4) * stride, {}
  doc.id, doc.version, doc.expires, doc.revision, doc.room, doc.live, doc.second = unpack(cmsgpack.unpack(ARGV[i]))
  doc.key, doc.second_key, doc.body = KEYS[at], KEYS[at + 1], doc.live[2]
  results[#results + 1] = write(doc)
end
if revision > before then call('HSET', KEYS[1], 'rev', whole(revision)) end
flush()
return { 'OK', results }
