-- session.create: creates a session; of a user with too many it ends the least recently used ones.
--
-- KEYS[3] session hash   KEYS[4] record of the request id (or KEYS[1] without one)
-- ARGV[5] id   ARGV[6] fingerprint of the request, '' without a request id   ARGV[7] its lifetime, ms
-- ARGV[8] idle timeout, ms   ARGV[9] absolute timeout, ms   ARGV[10] maximum of sessions   ARGV[11] evict | reject
-- ARGV[12..] field, value, ...
-- Reply: {'OK', id, flat hash} | {'REUSED'} | {'MISSING', id} | {'FULL'} | {'EXPIRED', field of a token}
-- A retry with the request id returns the first session; without one it creates another.
local id, fingerprint = ARGV[5], ARGV[6]

-- Last use of a session, µs; 0 if the store lost it. Earlier releases write no `lu`: then the last use follows from the
-- expiry, unless the absolute timeout cut it short.
local function used(session)
  local found = redis.call('HMGET', PREFIX .. session, 'lu', 'ex', 'it')
  if not found[2] then return 0 end
  return math.max(tonumber(found[1] or 0), (tonumber(found[2]) - tonumber(found[3])) * 1000)
end

if fingerprint ~= '' then
  local prior = replay(KEYS[4], fingerprint)
  if prior then return prior end
end
local expired = expired_token(12, #ARGV)
if expired then return { 'EXPIRED', expired } end
sweep()
local excess = redis.call('ZCARD', INDEX) - tonumber(ARGV[10]) + 1
if excess > 0 then
  if ARGV[11] == 'reject' then
    conclude()
    return { 'FULL' }
  end
  local rows = live()
  for _, row in ipairs(rows) do row.used = used(row[2]) end
  table.sort(rows, function(a, b)
    if a.used ~= b.used then return a.used < b.used end
    return a[3] < b[3]
  end)
  for i = 1, excess do
    finish(rows[i][3], 'expired', { 'r', rows[i].used == 0 and 'lost' or 'evicted' })
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
conclude()
return { 'OK', id, flat }
