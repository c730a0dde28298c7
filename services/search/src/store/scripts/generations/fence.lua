-- search.fence: brings a partition forward to the epoch of its collection's definition.
--
-- KEYS[1] state of the partition (hash)
-- ARGV[1] epoch   ARGV[2] live generation, '' closes the partition   ARGV[3] second generation, '' for none
-- ARGV[4] '1' creates a missing state
-- Reply: {'OK' | 'STALE' | 'MISSING', flat state}
-- A retry is idempotent.
local epoch = tonumber(redis.call('HGET', KEYS[1], 'e'))
if not epoch and ARGV[4] ~= '1' then return { 'MISSING', {} } end
if epoch and epoch > tonumber(ARGV[1]) then return { 'STALE', redis.call('HGETALL', KEYS[1]) } end
if not epoch or epoch < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'e', ARGV[1], 'l', ARGV[2], 's', ARGV[3])
end
return { 'OK', redis.call('HGETALL', KEYS[1]) }
