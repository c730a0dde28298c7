-- search.forget: removes what a partition keeps of a generation, or of the whole collection.
--
-- KEYS[1] state of the partition (hash)   KEYS[2..] keys to remove
-- ARGV[1] epoch, equal to the partition's   ARGV[2] generation whose checksum and misfits are removed; '' removes the state too
-- Reply: {'OK'} | {'STALE'}
-- A retry is idempotent.
local epoch = redis.call('HGET', KEYS[1], 'e')
if epoch and epoch ~= ARGV[1] then return { 'STALE' } end
for i = 2, #KEYS do redis.call('UNLINK', KEYS[i]) end
if ARGV[2] == '' then
  redis.call('UNLINK', KEYS[1])
elseif epoch then
  redis.call('HDEL', KEYS[1], 'c:' .. ARGV[2])
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 4) == 'bad:' then redis.call('HDEL', KEYS[1], field) end
  end
end
return { 'OK' }
