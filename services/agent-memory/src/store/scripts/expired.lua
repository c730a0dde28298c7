-- memory.expired: reads or removes members of a partition's expiries or owners.
--
-- KEYS[1] expiries, or owners, by time in ms (zset)
-- ARGV[1] 'READ': ARGV[2] now in ms, ARGV[3] most members | 'LAST': ARGV[2] most members | 'FORGET': ARGV[2..] members
-- Reply: members up to now, the earliest first | members, the latest first | {}
-- A retry is idempotent.
if ARGV[1] == 'READ' then return redis.call('ZRANGE', KEYS[1], '-inf', ARGV[2], 'BYSCORE', 'LIMIT', 0, ARGV[3]) end
if ARGV[1] == 'LAST' then return redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1, 'REV') end
redis.call('ZREM', KEYS[1], unpack(ARGV, 2))
return {}
