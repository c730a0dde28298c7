-- search.copy: copies documents of a partition into the second generation, by compare-and-set on their revision.
--
-- KEYS[1] state of the partition (hash)   KEYS[2] counters of the second generation (hash)
-- KEYS[3..] pairs of a document in the live generation and in the second
-- ARGV[1] epoch   ARGV[2] live generation   ARGV[3] second generation
-- ARGV[4..] for each document: id, revision, n, then n field names and values by the second's schema
-- Reply: {'OK', for each document: 1 copied, 0 changed or deleted meanwhile, 2 present already} | {'STALE'}
-- A retry is idempotent. A document that a writer has put, changed or deleted has another revision, or none.
local stale = fence(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
if stale then return stale end
local results, at = {}, 4
for i = 3, #KEYS, 2 do
  local id, revision, n = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local kept = redis.call('HMGET', KEYS[i], '_v', '_w', '_x', '_u', '_c')
  if kept[1] ~= revision then
    results[#results + 1] = 0
  elseif redis.call('HGET', KEYS[i + 1], '_v') == revision then
    results[#results + 1] = 2
  else
    local flat = { unpack(ARGV, at + 3, at + 2 + n) }
    for j, name in ipairs({ '_v', '_w', '_x', '_u', '_c' }) do
      if kept[j] then
        flat[#flat + 1] = name
        flat[#flat + 1] = kept[j]
      end
    end
    put(KEYS[i + 1], KEYS[2], KEYS[1], ARGV[3], id, flat)
    results[#results + 1] = 1
  end
  at = at + 3 + n
end
flush()
return { 'OK', results }
