-- policies.update: replaces a policy that the caller has read.
--
-- ARGV[2] id   ARGV[3] its JSON   ARGV[4] version that was read   ARGV[5] 1: validates only
-- Reply: {'OK', version, time, µs} | {'MISSING'} | {'VERSION', current version}
-- A retry after success gets 'VERSION'.
local current = version_of(ARGV[2])
if not current then return { 'MISSING' } end
if current ~= tonumber(ARGV[4]) then return { 'VERSION', string.format('%.0f', current) } end
local version = string.format('%.0f', revision() + 1)
if ARGV[5] ~= '1' then
  redis.call('HSET', HASH, 'p:' .. ARGV[2], document(version, ARGV[3]))
  commit(version)
end
return { 'OK', version, now }
