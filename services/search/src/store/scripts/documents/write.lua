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

local function store(doc, old, exists)
  revision = revision + 1
  local meta = { '_v', whole(revision), '_u', whole(now), '_c', exists and old[4] or whole(now) }
  if doc.version ~= '' then
    meta[7], meta[8] = '_w', doc.version
  end
  if doc.expires ~= '' then
    meta[#meta + 1], meta[#meta + 2] = '_x', doc.expires
    redis.call('ZADD', KEYS[2], doc.expires, doc.id)
  elseif old[3] then
    redis.call('ZREM', KEYS[2], doc.id)
  end
  local function whole_document(flat)
    for _, part in ipairs(meta) do flat[#flat + 1] = part end
    return flat
  end
  local terms = put(doc.key, KEYS[4], KEYS[1], ARGV[2], doc.id, whole_document(doc.live)) or ''
  local others = ''
  if doc.second then
    others = put(doc.second_key, KEYS[5], KEYS[1], ARGV[3], doc.id, whole_document(doc.second)) or ''
  elseif second then
    others = drop(doc.second_key, KEYS[5], KEYS[1], ARGV[3], doc.id) or ''
    redis.call('HSETNX', KEYS[1], 'bad:' .. ARGV[1], doc.reason)
  end
  return { exists and 'UPDATED' or 'CREATED', meta[2], meta[6], meta[4], terms, others }
end

local function write(doc)
  local old = redis.call('HMGET', doc.key, '_v', '_w', '_x', '_c', '_b', '_u')
  local exists = old[1] and not (old[3] and tonumber(old[3]) * 1000 <= now)
  if doc.revision ~= '' and (not exists or old[1] ~= doc.revision) then return { 'CHANGED', exists and old[1] or '' } end
  local known = nil
  if exists then
    known = old[2]
  elseif doc.version ~= '' then
    known = redis.call('HGET', KEYS[3], doc.id)
  end
  if doc.version ~= '' and known and tonumber(doc.version) < tonumber(known) then return { 'OLDER', known } end
  if exists and old[5] == doc.body and (old[2] or '') == doc.version and (old[3] or '') == doc.expires then
    return { 'UNCHANGED', old[1], old[4], old[6] }
  end
  if doc.room == 'D' and not exists then return { 'FULL' } end
  if doc.room == 'B' and #doc.body > (exists and #old[5] or 0) then return { 'FULL' } end
  if known and not exists then redis.call('HDEL', KEYS[3], doc.id) end
  return store(doc, old, exists)
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
