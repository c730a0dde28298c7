-- search.delete: removes documents of one partition from the live generation, and from the second if there is one.
--
-- KEYS[1] state of the partition (hash)   KEYS[2] expiries (zset)   KEYS[3] tombstones (hash)
-- KEYS[4] counters of the live generation (hash)   KEYS[5] counters of the second; the live one's if there is none
-- KEYS[6..] documents in the live generation; each before the same one in the second, if there is one
-- ARGV[1] epoch   ARGV[2] live generation   ARGV[3] second generation, '' for none
-- ARGV[4] seconds that a tombstone lives
-- ARGV[5..] for each document: id, caller's version of the deletion or '', revision that it must have or ''
-- Reply: {'OK', for each document one of {'DELETED' | 'MISSING', terms or '', those of the second or ''},
--   {'OLDER', version}, {'CHANGED', revision or ''}} | {'STALE'}
-- A retry is idempotent, but finds the document missing. A deletion with a version leaves a tombstone.
local stale = fence(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
if stale then return stale end
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function bury(id, version)
  local known = call('HGET', KEYS[3], id)
  if known and tonumber(known) > tonumber(version) then return end
  call('HSETEX', KEYS[3], 'EX', ARGV[4], 'FIELDS', 1, id, version)
end

local function delete(key, second_key, id, version, revision)
  local old = call('HMGET', key, '_v', '_w', '_x')
  local exists = old[1] and not (old[3] and tonumber(old[3]) <= now)
  if revision ~= '' and (not exists or old[1] ~= revision) then return { 'CHANGED', exists and old[1] or '' } end
  if version ~= '' and exists and old[2] and tonumber(version) < tonumber(old[2]) then return { 'OLDER', old[2] } end
  if version ~= '' then bury(id, version) end
  local terms = drop(key, KEYS[4], KEYS[1], ARGV[2], id)
  local others = ''
  if ARGV[3] ~= '' then others = drop(second_key, KEYS[5], KEYS[1], ARGV[3], id) or '' end
  if terms then
    call('ZREM', KEYS[2], id)
    call('HINCRBY', KEYS[1], 'rev', 1)
  end
  return { exists and 'DELETED' or 'MISSING', terms or '', others }
end

local results, stride = {}, ARGV[3] ~= '' and 2 or 1
for i = 5, #ARGV, 3 do
  local at = 6 + (i - 5) / 3 * stride
  results[#results + 1] = delete(KEYS[at], KEYS[at + 1], ARGV[i], ARGV[i + 1], ARGV[i + 2])
end
flush()
return { 'OK', results }
