-- search.schedule: sets the moment of a collection's next maintenance.
--
-- KEYS[1] directory (zset)
-- ARGV[1] collection   ARGV[2] delay in ms, '' removes it   ARGV[3] claim that the moment must still have; '' only brings it forward
-- Reply: 1 if the moment is set, 0 if another caller has changed it
-- A retry is idempotent.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if ARGV[3] ~= '' then
  local moment = redis.call('ZSCORE', KEYS[1], ARGV[1])
  if not moment or tonumber(moment) ~= tonumber(ARGV[3]) then return 0 end
end
if ARGV[2] == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
elseif ARGV[3] ~= '' then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
else
  redis.call('ZADD', KEYS[1], 'LT', string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
end
return 1
