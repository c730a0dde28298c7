-- search.lease: takes, renews or ends the lease of a collection's maintenance, and keeps its checkpoint.
--
-- KEYS[1] job (hash): o owner, u end of the lease in ms, g generation of the checkpoint, and the checkpoint's fields
-- ARGV[1] owner   ARGV[2] lease in ms, 0 ends it   ARGV[3] generation; another one clears the checkpoint; '' keeps it; 0 with
-- an end removes it
-- ARGV[4..] pairs of field and value
-- Reply: {'HELD', flat hash} | {'BUSY', ms left}
-- A retry is idempotent.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local held = redis.call('HMGET', KEYS[1], 'o', 'u', 'g')
if held[1] and held[1] ~= ARGV[1] and tonumber(held[2]) > now then
  return { 'BUSY', tonumber(held[2]) - now }
end
if ARGV[3] ~= '' and held[3] ~= ARGV[3] then redis.call('UNLINK', KEYS[1]) end
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], 'o', 'u')
  return { 'HELD', {} }
end
redis.call('HSET', KEYS[1], 'o', ARGV[1], 'u', string.format('%.0f', now + tonumber(ARGV[2])))
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'g', ARGV[3]) end
if #ARGV > 3 then redis.call('HSET', KEYS[1], unpack(ARGV, 4)) end
return { 'HELD', redis.call('HGETALL', KEYS[1]) }
