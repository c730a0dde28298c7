-- policies.delete: deletes a policy, even a damaged one.
--
-- ARGV[2] id   ARGV[3] expected version, or -1 for any
-- Reply: {'OK', revision, time, µs} | {'MISSING'} | {'VERSION', current version}
-- A retry after success gets 'MISSING'.
local current, wanted = version_of(ARGV[2]), tonumber(ARGV[3])
if not current then return { 'MISSING' } end
if wanted >= 0 and wanted ~= current then return { 'VERSION', string.format('%.0f', current) } end
local version = string.format('%.0f', revision() + 1)
redis.call('HDEL', HASH, 'p:' .. ARGV[2])
redis.call('HINCRBY', HASH, 'n', -1)
commit(version)
return { 'OK', version, now }
