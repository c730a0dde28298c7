-- session.rotate: moves a live session to a new id.
--
-- KEYS[3] session hash   KEYS[4] hash under the new id   KEYS[5] record of the request id (or KEYS[1] without one)
-- ARGV[5] id   ARGV[6] new id   ARGV[7] fingerprint, '' without a request id   ARGV[8] its lifetime, ms
-- Reply: {'OK', id, flat hash} | {'REUSED'} | {'MISSING', id}
-- A retry with the request id returns the rotated session; without one the old id is 'MISSING'.
local id, new, fingerprint = ARGV[5], ARGV[6], ARGV[7]
if fingerprint ~= '' then
  local prior = replay(KEYS[5], fingerprint)
  if prior then return prior end
end
sweep()
local state = load(KEYS[3])
if not state then
  conclude()
  return { 'MISSING', id }
end
redis.call('RENAME', KEYS[3], KEYS[4])
redis.call('ZREM', INDEX, member(tonumber(state.ct), tonumber(state.ad), id))
state.v = string.format('%.0f', tonumber(state.v) + 1)
state.ut = string.format('%.0f', now)
slide(state)
redis.call('HSET', KEYS[4], 'v', state.v, 'ut', state.ut, 'lu', state.lu, 'ex', state.ex)
follow(KEYS[4], new, state)
if fingerprint ~= '' then remember(KEYS[5], fingerprint, new, ARGV[8]) end
emit('rotated', id, { 'n', new, 'v', state.v, 'ut', state.ut })
conclude()
return { 'OK', new, flatten(state) }
