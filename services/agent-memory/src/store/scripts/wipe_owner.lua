-- memory.wipe_owner: removes what is left of an owner when its memories are gone.
--
-- KEYS[1] directory (hash)   KEYS[2] owners of the partition (zset)   KEYS[3] subjects (hash)   KEYS[4] recalled texts (zset)
-- KEYS[5..] records (hashes)
-- ARGV[1] owner   ARGV[2] 1 to remove directory and subjects too
-- ARGV[3..] field of a record in the directory, its number of items, ...
-- Reply: 1, or 0 if a record has another number of items, or the directory another record; nothing was removed then
-- A retry removes nothing more.
local known = {}
for at = 5, #KEYS do
  known[ARGV[at * 2 - 7]] = true
  if redis.call('HLEN', KEYS[at]) ~= tonumber(ARGV[at * 2 - 6]) then return 0 end
end
if ARGV[2] == '1' then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 2) == 's:' and not known[field] then return 0 end
  end
  redis.call('UNLINK', KEYS[1], KEYS[3])
  redis.call('ZREM', KEYS[2], ARGV[1])
end
for at = 5, #KEYS do
  redis.call('UNLINK', KEYS[at])
  redis.call('HDEL', KEYS[1], ARGV[at * 2 - 7])
end
redis.call('UNLINK', KEYS[4])
return 1
