-- memory.write_erasure: opens a job of an erasure, adds to its numbers, or makes a receipt of it.
--
-- KEYS[1] job (hash)
-- ARGV[1] OPEN | COUNT | CLOSE   ARGV[2] life, ms
-- OPEN: ARGV[3..] field, value, ...   COUNT: ARGV[3..] field, number to add, ...   CLOSE: ARGV[3] end, ms
-- Reply: 1, or 0 if there is no job
-- A retry of COUNT adds again; the others do the same.
if ARGV[1] == 'OPEN' then
  redis.call('HSET', KEYS[1], unpack(ARGV, 3))
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[1] == 'COUNT' then
  for at = 3, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1]) end
else
  redis.call('HSETNX', KEYS[1], 'f', ARGV[3])
  redis.call('HDEL', KEYS[1], 's')
end
return 1
