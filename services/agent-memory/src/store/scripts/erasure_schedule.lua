-- memory.schedule_erasure: lists a job of an erasure for its next attempt, or takes it off the list.
--
-- KEYS[1] jobs, by their next attempt in ms (zset)
-- ARGV[1] job   ARGV[2] time to the next attempt in ms, or -1 to take it off   ARGV[3] life of the list, ms
-- Reply: 1
-- A retry does the same.
local delay = tonumber(ARGV[2])
if delay < 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + delay, ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
