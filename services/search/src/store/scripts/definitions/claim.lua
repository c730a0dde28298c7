-- search.claim: claims collections whose maintenance is due, and puts their next moment off by the lease.
--
-- KEYS[1] directory (zset): collection by the moment of its next maintenance, in ms
-- ARGV[1] lease in ms   ARGV[2] maximum of collections
-- Reply: {claim, time in microseconds, collections}
-- A retry claims others; a lost reply delays the claimed collections by the lease.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local claim = string.format('%.0f', now + tonumber(ARGV[1]))
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])
for _, collection in ipairs(due) do redis.call('ZADD', KEYS[1], claim, collection) end
return { claim, string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2])), due }
