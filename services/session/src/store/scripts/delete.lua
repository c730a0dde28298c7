-- session.delete: ends one session.
--
-- KEYS[3] session hash   ARGV[5] id   ARGV[6] expected version, 0 for any
-- Reply: {'OK'} | {'MISSING'} | {'VERSION', current}
-- A retry says 'MISSING'.
sweep()
local found = redis.call('HMGET', KEYS[3], 'ct', 'ad', 'v')
if not found[1] then
  conclude()
  return { 'MISSING' }
end
local expected = tonumber(ARGV[6])
if expected ~= 0 and expected ~= tonumber(found[3]) then
  conclude()
  return { 'VERSION', tonumber(found[3]) }
end
finish(member(tonumber(found[1]), tonumber(found[2]), ARGV[5]), 'deleted', {})
conclude()
return { 'OK' }
