-- search.due: documents of a partition that have expired, the longest expired first, and the next expiry.
--
-- KEYS[1] expiries of the partition (zset)
-- ARGV[1] maximum of documents
-- Reply: {ids, ms until the next expiry of a document that is not among them, or -1}
-- A retry is harmless: nothing changes.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local after = redis.call('ZRANGE', KEYS[1], #due, #due, 'WITHSCORES')
local left = after[2] and math.max(0, tonumber(after[2]) - now) or -1
return { due, math.floor(left) }
