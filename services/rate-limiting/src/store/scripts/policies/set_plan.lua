-- policies.set_plan: puts a tenant on a plan, or on none.
--
-- ARGV[2] tenant   ARGV[3] plan, '' for none   ARGV[4] 1: none is kept too, since the file says something else
-- Reply: {'OK', revision, when, µs}
-- A retry finds it done, and changes nothing.
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
