-- revocation.report: reports the position of an instance in the feed, under a lease.
--
-- KEYS[1] leases     zset: instances, by the end of their leases in ms
-- KEYS[2] positions  hash: sequence that each instance has applied
-- ARGV[1] instance   ARGV[2] sequence that it has applied   ARGV[3] lease, ms; 0: the instance leaves
-- Reply: now in ms
-- A retry reports it again.
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local lease = tonumber(ARGV[3])
for _, expired in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms)) do
  redis.call('ZREM', KEYS[1], expired)
  redis.call('HDEL', KEYS[2], expired)
end
if lease == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
  return now_ms
end
redis.call('ZADD', KEYS[1], now_ms + lease, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for _, key in ipairs(KEYS) do
  if redis.call('PEXPIRE', key, lease, 'GT') == 0 then redis.call('PEXPIRE', key, lease, 'NX') end
end
return now_ms
