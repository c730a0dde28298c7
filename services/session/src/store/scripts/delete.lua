-- session.delete: ends one session.
--
-- KEYS[3] session hash   ARGV[5] id
-- Reply: {'OK'} | {'MISSING'}
-- A retry says 'MISSING'.
sweep()
local found = redis.call('HMGET', KEYS[3], 'ct', 'ad')
if not found[1] then
  ring()
  return { 'MISSING' }
end
finish(member(tonumber(found[1]), tonumber(found[2]), ARGV[5]), 'deleted', {})
ring()
return { 'OK' }
