-- memory.cache_embeddings: adds embeddings to a user's cache, and evicts random ones beyond the maximum.
--
-- KEYS[1] hash of embeddings
-- ARGV[1] TTL, ms   ARGV[2] most entries   ARGV[3..] field, value, ...
-- Reply: 1
-- A retry writes the same values again.
for first = 3, #ARGV, 200 do
  redis.call('HSET', KEYS[1], unpack(ARGV, first, math.min(first + 199, #ARGV)))
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
local excess = redis.call('HLEN', KEYS[1]) - tonumber(ARGV[2])
if excess > 0 then
  local fields = redis.call('HRANDFIELD', KEYS[1], excess)
  for first = 1, #fields, 200 do
    redis.call('HDEL', KEYS[1], unpack(fields, first, math.min(first + 199, #fields)))
  end
end
return 1
