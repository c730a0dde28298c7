-- revocation.keys: ids of the keys of an issuer that were revoked, in one partition. Reads only.
--
-- KEYS[1] the list (see list in common.lua)
-- Reply: ids, also of those that were undone since
-- A retry reads anew.

local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now_ms), '+inf')
