-- policies.set_plan: sets or removes the plan of a tenant.
--
-- ARGV[2] tenant   ARGV[3] plan, '' for none   ARGV[4] 1: notes none too, since the file sets a plan
-- Reply: {'OK', revision, time, µs}
-- A retry changes nothing.
local field, plan = 't:' .. ARGV[2], ARGV[3]
local known = redis.call('HGET', HASH, field)
local kept = plan ~= '' or ARGV[4] == '1'
if kept and known == plan or not kept and not known then
  return { 'OK', string.format('%.0f', revision()), now }
end
local version = string.format('%.0f', revision() + 1)
if kept then
  redis.call('HSET', HASH, field, plan)
else
  redis.call('HDEL', HASH, field)
end
commit(version)
return { 'OK', version, now }
