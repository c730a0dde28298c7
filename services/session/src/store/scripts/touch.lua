-- session.touch: slides the expiry of a live session. No event, no new version.
--
-- KEYS[3] session hash   ARGV[5] id
-- Reply: {'OK', expiry in ms, version} | {'MISSING'}
-- A retry slides again: harmless.
local found = redis.call('HMGET', KEYS[3], 'ct', 'it', 'ad', 'v')
if not found[1] then return { 'MISSING' } end
local state = { ct = found[1], it = found[2], ad = found[3] }
slide(state)
redis.call('HSET', KEYS[3], 'lu', state.lu, 'ex', state.ex)
follow(KEYS[3], ARGV[5], state)
conclude()
return { 'OK', tonumber(state.ex), tonumber(found[4]) }
