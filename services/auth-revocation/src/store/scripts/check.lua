-- revocation.check: reads everything that one partition knows against a token. Reads only.
--
-- KEYS[1] head (see common.lua)
-- KEYS[2..] records of targets other than the token; then, if the token is of this partition: its record, and the filters
--           that may hold it
-- ARGV[1] number of records of other targets   ARGV[2] item for filters, '' if the token is of another partition
-- ARGV[3] generation by the caller's time, from which the filters follow   ARGV[4] length of a generation, ms
-- ARGV[5..] bucket of each filter; none where the token has no exp
-- Reply: {now in ms, record or nil, ...}, the token's last
-- A retry reads anew.
--
-- Needs nothing of common.lua: it does not write.

local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local count, item = tonumber(ARGV[1]), ARGV[2]
local reply = { now_ms }
if count > 0 then
  local records = redis.call('MGET', unpack(KEYS, 2, count + 1))
  for index = 1, count do reply[index + 1] = records[index] end
end
if item == '' then return reply end

-- True if a filter can be trusted, and shows that the token was never revoked.
local function clean(flag, filter, quiet)
  -- Without a flag, nothing was ever put into this bucket, unless the head was lost meanwhile.
  if not flag then return quiet end
  if string.byte(flag) ~= 43 or redis.call('EXISTS', filter) == 0 then return false end
  return redis.pcall('BF.EXISTS', filter, item) == 0
end

local function untouched()
  local length, flags = tonumber(ARGV[4]), { 'c' }
  if #ARGV < 5 or math.floor(now_ms / length) ~= tonumber(ARGV[3]) then return false end
  for index = 5, #ARGV do flags[#flags + 1] = 'b' .. ARGV[index] end
  local head = redis.call('HMGET', KEYS[1], unpack(flags))
  if not head[1] then return false end
  local since = tonumber(head[1])
  local quiet = since == 0 or now_ms >= since + 2 * length
  for index = 2, #flags do
    if not clean(head[index], KEYS[count + 1 + index], quiet) then return false end
  end
  return true
end

reply[count + 2] = not untouched() and redis.call('GET', KEYS[count + 2])
return reply
