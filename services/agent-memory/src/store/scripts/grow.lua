-- memory.grow: begins or ends the build of an owner's postings and vectors.
--
-- KEYS[1] directory (hash)   ARGV[1] 'b' begins, '1' ends   ARGV[2] items up to which an owner is read whole
-- Reply: 1 if the owner has that state now, 0 if it has no need of it, or is built already
-- A retry is idempotent.
local state = redis.call('HMGET', KEYS[1], 'lg', 'n')
if ARGV[1] == 'b' then
  if state[1] == '1' or tonumber(state[2] or '0') <= tonumber(ARGV[2]) then return 0 end
  redis.call('HSET', KEYS[1], 'lg', 'b')
  return 1
end
-- An owner whose last memory went during the build has no directory.
if not state[1] then return 0 end
redis.call('HSET', KEYS[1], 'lg', '1')
return 1
