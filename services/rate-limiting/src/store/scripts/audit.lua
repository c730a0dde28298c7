-- policies.audit: notes an act for a tenant.
--
-- KEYS[1] stream, one entry for each act: a action; w reason; i initiator; d description; k a target, once for each target
-- ARGV[1] retention, ms   ARGV[2] most entries, approximately   ARGV[3..] field, value, ...
-- Reply: the id of the entry
-- A retry notes the act twice.
local clock = redis.call('TIME')
local oldest = clock[1] * 1000 + math.floor(clock[2] / 1000) - tonumber(ARGV[1])
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))
redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', math.max(oldest, 0)))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return id
