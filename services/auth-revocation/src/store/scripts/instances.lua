-- revocation.instances: lists the instances whose lease has not ended, and the position of each in the feed. Reads only.
--
-- KEYS[1] leases   KEYS[2] positions, as in report.lua
-- Reply: {instance, sequence that it has applied, ...}
-- A retry reads anew.
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local reply = {}
for _, instance in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now_ms), '+inf')) do
  reply[#reply + 1] = instance
  reply[#reply + 1] = redis.call('HGET', KEYS[2], instance) or ''
end
return reply
