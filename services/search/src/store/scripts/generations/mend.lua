-- search.mend: corrects the counters and the checksum of a partition, if no document has changed since they were counted.
--
-- KEYS[1] state of the partition (hash)   KEYS[2] counters of a generation (hash)
-- ARGV[1] epoch   ARGV[2] revision of the partition when the count began   ARGV[3] generation   ARGV[4] checksum
-- ARGV[5] n, then n pairs of counter and value, then counters to remove
-- Reply: {'OK'} | {'BUSY'}: documents or the epoch have changed
-- A retry is idempotent.
local state = redis.call('HMGET', KEYS[1], 'e', 'rev')
if state[1] ~= ARGV[1] or (state[2] or '0') ~= ARGV[2] then return { 'BUSY' } end
redis.call('HSET', KEYS[1], 'c:' .. ARGV[3], ARGV[4])
local last = 5 + 2 * tonumber(ARGV[5])
for i = 6, last, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
return { 'OK' }
