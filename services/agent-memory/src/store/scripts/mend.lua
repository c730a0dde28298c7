-- memory.mend: removes items without a memory, and sets the counters of an owner.
--
-- KEYS[1] directory (hash)   KEYS[2..] records (hash) of the items to remove
-- ARGV[1] revision of the owner during the count, 0 for none   ARGV[2..6] items, memories, bytes, tokens, words
-- ARGV[7] number of records to enter, then pairs of field and next sequence; then the sequences of the items, one for each key
-- Reply: number of corrections | nil: the owner was written since the count, nothing was done
-- A retry is idempotent, but counts nothing.
if tonumber(redis.call('HGET', KEYS[1], 'rev') or '0') ~= tonumber(ARGV[1]) then return nil end
local mended, at = 0, 7
for i = 1, tonumber(ARGV[7]) do
  redis.call('HSET', KEYS[1], ARGV[at + 1], ARGV[at + 2])
  mended, at = mended + 1, at + 2
end
for i = 2, #KEYS do mended = mended + redis.call('HDEL', KEYS[i], ARGV[at + i - 1]) end
if ARGV[1] == '0' then return mended end
for i, field in ipairs({ 'n', 'm', 'b', 't', 'l' }) do
  if tonumber(redis.call('HGET', KEYS[1], field) or '0') ~= tonumber(ARGV[i + 1]) then
    redis.call('HSET', KEYS[1], field, ARGV[i + 1])
    mended = mended + 1
  end
end
return mended
