-- memory.declare_space: records what the vectors of a space are made with.
--
-- KEYS[1] facts of the space (hash)
-- ARGV[1] life of the record, ms   ARGV[2..] fact, value, ...
-- Reply: recorded facts and values; those of the first call
-- A retry records nothing more.
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], unpack(ARGV, 2)) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('HGETALL', KEYS[1])
