-- search.sweep: removes expired documents of a partition, and takes them out of the counters.
--
-- KEYS[1] state of the partition (hash)   KEYS[2] expiries (zset)   KEYS[3] counters of the live generation
-- KEYS[4] counters of the second generation   KEYS[5..] pairs of a document in the live generation and in the second
-- ARGV[1] epoch   ARGV[2] live generation   ARGV[3] second generation, '' for none: the second keys are unused
-- ARGV[4..] ids, one for each pair
-- Reply: {'OK', for each removed document: its terms in the live generation, in the second} | {'STALE'}
-- A retry is idempotent, but returns no terms of what an earlier run removed.
local stale = fence(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
if stale then return stale end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local second = ARGV[3] ~= ''
local removed, terms = 0, {}
for i = 5, #KEYS, 2 do
  local id = ARGV[4 + (i - 5) / 2]
  local expires = redis.call('HGET', KEYS[i], '_x')
  local gone = redis.call('EXISTS', KEYS[i]) == 0
  if gone or (expires and tonumber(expires) <= now) then
    redis.call('ZREM', KEYS[2], id)
    removed = removed + 1
    terms[#terms + 1] = drop(KEYS[i], KEYS[3], KEYS[1], ARGV[2], id) or ''
    terms[#terms + 1] = second and drop(KEYS[i + 1], KEYS[4], KEYS[1], ARGV[3], id) or ''
  elseif expires then
    redis.call('ZADD', KEYS[2], expires, id)
  else
    redis.call('ZREM', KEYS[2], id)
  end
end
flush()
if removed > 0 then redis.call('HINCRBY', KEYS[1], 'rev', removed) end
return { 'OK', terms }
