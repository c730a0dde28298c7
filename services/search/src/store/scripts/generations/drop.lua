-- search.drop: removes documents of a generation that is neither live nor second.
--
-- KEYS[1] state of the partition (hash)   KEYS[2..] documents
-- ARGV[1] epoch, equal to the partition's
-- Reply: {'OK', number of removed documents} | {'STALE'}
-- A retry is idempotent. A later epoch may have given the keys to a new generation: then nothing is removed.
if redis.call('HGET', KEYS[1], 'e') ~= ARGV[1] then return { 'STALE' } end
local removed = 0
for i = 2, #KEYS do removed = removed + redis.call('UNLINK', KEYS[i]) end
return { 'OK', removed }
