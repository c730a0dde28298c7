-- revocation.keys: reads the ids of an issuer's revoked keys, in one partition. Reads only.
--
-- KEYS[1] list of the issuer's keys (see list in common.lua)
-- Reply: ids, also of keys whose revocation was undone since
-- A retry reads anew.

local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now_ms), '+inf')
