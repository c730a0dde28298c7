-- search.mend: corrects counters and the checksum of a partition, if no document has changed since they were counted.
--
-- KEYS[1] state of the partition (hash)   KEYS[2] counters of a generation (hash)
-- ARGV[1] epoch   ARGV[2] revision of the partition when the count began   ARGV[3] generation   ARGV[4] checksum
-- ARGV[5..] pairs of counter and value, '' to remove it
-- Reply: {'OK'} | {'BUSY'}: documents or the epoch have changed
-- A retry is idempotent.
local state = redis.call('HMGET', KEYS[1], 'e', 'rev')
if state[1] ~= ARGV[1] or (state[2] or '0') ~= ARGV[2] then return { 'BUSY' } end
redis.call('HSET', KEYS[1], 'c:' .. ARGV[3], ARGV[4])
for i = 5, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
return { 'OK' }
