-- policies.audit: notes what was done for a tenant.
--
-- KEYS[1] stream, one entry for each act: a action; w reason; i initiator; d description; k a target, as often as there are targets
-- ARGV[1] how long it is kept, ms   ARGV[2] the most entries, about   ARGV[3..] field, value, ...
-- Reply: the entry's id
-- A retry notes it twice.
local clock = redis.call('TIME')
local oldest = clock[1] * 1000 + math.floor(clock[2] / 1000) - tonumber(ARGV[1])
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))
redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', math.max(oldest, 0)))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return id
