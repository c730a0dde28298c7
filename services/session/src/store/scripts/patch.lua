-- session.patch: merges fields into a live session and slides its expiry. Never creates one.
--
-- KEYS[3] session hash
-- ARGV[5] id   ARGV[6] expected version, 0 for any   ARGV[7] idle and ARGV[8] absolute timeout that the session must have, ms, or ''
-- ARGV[9] maximum of bytes   ARGV[10] of attributes   ARGV[11] of tokens
-- ARGV[12] n, then n pairs of field and value to set, then fields to delete
-- Reply: {'OK', flat hash} | {'MISSING'} | {'VERSION', current} | {'IDLE' | 'ABSOLUTE', the session's timeout, ms}
--        | {'BYTES' | 'ATTRIBUTES' | 'TOKENS', number after the merge} | {'EXPIRED', field of a token}
-- A retry is idempotent without an expected version, and 'VERSION' with one.
local key, id = KEYS[3], ARGV[5]
sweep()
local state = load(key)
if not state then
  conclude()
  return { 'MISSING' }
end
local expected = tonumber(ARGV[6])
if expected ~= 0 and expected ~= tonumber(state.v) then
  conclude()
  return { 'VERSION', tonumber(state.v) }
end

if ARGV[7] ~= '' or ARGV[8] ~= '' then
  local idle, absolute = tonumber(state.it), tonumber(state.ad) - math.floor(tonumber(state.ct) / 1000)
  local other = ARGV[7] ~= '' and tonumber(ARGV[7]) ~= idle and { 'IDLE', idle }
    or ARGV[8] ~= '' and tonumber(ARGV[8]) ~= absolute and { 'ABSOLUTE', absolute }
  if other then
    conclude()
    return other
  end
end

local sets, dels, event = {}, {}, {}
local function delete(f, in_event)
  if state[f] == nil then return end
  state[f] = nil
  dels[#dels + 1] = f
  if in_event then
    event[#event + 1] = '-' .. f
    event[#event + 1] = ''
  end
end
for f, v in pairs(state) do
  if string.sub(f, 1, 2) == 'k:' and tonumber(v) <= now then dels[#dels + 1] = f end
end
for _, f in ipairs(dels) do state[f] = nil end
local first, last = 13, 12 + 2 * tonumber(ARGV[12])
local expired = expired_token(first, last)
if expired then
  conclude()
  return { 'EXPIRED', expired }
end
for i = first, last, 2 do
  local f, v = ARGV[i], ARGV[i + 1]
  if state[f] ~= v then
    state[f] = v
    sets[#sets + 1] = f
    sets[#sets + 1] = v
    event[#event + 1] = '+' .. f
    event[#event + 1] = v
  end
end
for i = last + 1, #ARGV do delete(ARGV[i], true) end

if #sets > 0 then
  local bytes, attributes, tokens = measure(state)
  local over = bytes > tonumber(ARGV[9]) and { 'BYTES', bytes }
    or attributes > tonumber(ARGV[10]) and { 'ATTRIBUTES', attributes }
    or tokens > tonumber(ARGV[11]) and { 'TOKENS', tokens }
  if over then
    conclude()
    return over
  end
end
if #dels > 0 then redis.call('HDEL', key, unpack(dels)) end
slide(state)
if #event > 0 then
  state.v = string.format('%.0f', tonumber(state.v) + 1)
  state.ut = string.format('%.0f', now)
  event[#event + 1] = 'v'
  event[#event + 1] = state.v
  event[#event + 1] = 'ut'
  event[#event + 1] = state.ut
  emit('updated', id, event)
end
redis.call('HSET', key, 'v', state.v, 'ut', state.ut, 'lu', state.lu, 'ex', state.ex, unpack(sets))
follow(key, id, state)
conclude()
return { 'OK', flatten(state) }
