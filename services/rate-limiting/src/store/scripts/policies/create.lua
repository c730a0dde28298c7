-- policies.create: creates a policy.
--
-- ARGV[2] id   ARGV[3] its JSON   ARGV[4] most policies   ARGV[5] 1: validates only
-- Reply: {'OK', version, time, µs} | {'EXISTS'} | {'FULL'}
-- A retry after success gets 'EXISTS'.
if version_of(ARGV[2]) then return { 'EXISTS' } end
if (tonumber(redis.call('HGET', HASH, 'n')) or 0) >= tonumber(ARGV[4]) then return { 'FULL' } end
local version = string.format('%.0f', revision() + 1)
if ARGV[5] ~= '1' then
  redis.call('HSET', HASH, 'p:' .. ARGV[2], document(version, ARGV[3]))
  redis.call('HINCRBY', HASH, 'n', 1)
  commit(version)
end
return { 'OK', version, now }
