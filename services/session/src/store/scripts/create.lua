-- session.create: makes a session, ending others where the user has too many.
--
-- KEYS[3] session hash   KEYS[4] record of the request id (or KEYS[1] without one)
-- ARGV[5] id   ARGV[6] fingerprint of the request, '' without a request id   ARGV[7] its lifetime, ms
-- ARGV[8] idle timeout, ms   ARGV[9] absolute timeout, ms   ARGV[10] most sessions   ARGV[11] evict | reject
-- ARGV[12..] field, value, ...
-- Reply: {'OK', id, flat hash} | {'REUSED'} | {'MISSING', id} | {'FULL'}
-- A retry with the request id returns the first session; without one it makes another.
local id, fingerprint = ARGV[5], ARGV[6]
if fingerprint ~= '' then
  local prior = replay(KEYS[4], fingerprint)
  if prior then return prior end
end
sweep()
local excess = redis.call('ZCARD', INDEX) - tonumber(ARGV[10]) + 1
if excess > 0 then
  if ARGV[11] == 'reject' then
    ring()
    return { 'FULL' }
  end
  for _, m in ipairs(redis.call('ZRANGE', INDEX, 0, excess - 1)) do
    finish(m, 'expired', { 'r', 'evicted' })
  end
end
local state = { v = '1', ct = string.format('%.0f', now), ut = string.format('%.0f', now), it = ARGV[8] }
state.ad = string.format('%.0f', now_ms + tonumber(ARGV[9]))
for i = 12, #ARGV, 2 do state[ARGV[i]] = ARGV[i + 1] end
slide(state)
local flat = flatten(state)
redis.call('HSET', KEYS[3], unpack(flat))
follow(KEYS[3], id, state)
if fingerprint ~= '' then remember(KEYS[4], fingerprint, id, ARGV[7]) end
local event = {}
for i = 1, #flat, 2 do
  event[i] = '+' .. flat[i]
  event[i + 1] = flat[i + 1]
end
emit('created', id, event)
ring()
return { 'OK', id, flat }
