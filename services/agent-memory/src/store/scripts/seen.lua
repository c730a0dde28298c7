-- memory.seen: records texts that an owner was given by a recall, or tests for them.
--
-- KEYS[1] hashes of texts, by time in ms (zset)
-- ARGV[1] 'ADD' | 'TEST'   ARGV[2] now in ms   ARGV[3] time for which a text is recognized in ms   ARGV[4] most texts
-- ARGV[5..] hashes
-- Reply: for each hash, 1 if it was recorded within that time before this call, else 0
-- A retry is idempotent.
local oldest = tonumber(ARGV[2]) - tonumber(ARGV[3])
local flags = {}
for i = 5, #ARGV do
  local time = redis.call('ZSCORE', KEYS[1], ARGV[i])
  flags[#flags + 1] = time and tonumber(time) > oldest and 1 or 0
  if ARGV[1] == 'ADD' then redis.call('ZADD', KEYS[1], ARGV[2], ARGV[i]) end
end
if ARGV[1] == 'ADD' then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', oldest)
  redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[4]) - 1)
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return flags
