-- memory.claim: claims partitions whose visit is due, and sets their next one.
--
-- KEYS[1] partitions, by the time of their next visit in ms (zset)   ARGV[1] most partitions   ARGV[2] time to the next visit in ms
-- Reply: partitions
-- A retry claims others; those of the first call are due again after their time.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local due = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, partition in ipairs(due) do redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), partition) end
return due
