-- memory.register: registers a partition for maintenance.
--
-- KEYS[1] partitions, by the time of their next visit in ms (zset)   ARGV[1] partition
-- Reply: 1 if it is new, else 0
-- A retry is idempotent.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('PEXPIRE', KEYS[1], 800 * 86400000)
return redis.call('ZADD', KEYS[1], 'NX', now, ARGV[1])
