-- memory.touch: counts a use of memories of one owner.
--
-- KEYS[1..] pairs of a memory (hash) and its record (hash)
-- ARGV[1] now in ms   ARGV[2] shortest time between two counted uses in ms   ARGV[3] offset of the last use in a packed item
-- ARGV[4] last use, packed   ARGV[5..] for each memory: first sequence, number of items
-- Reply: number of counted uses
-- A retry counts nothing. A memory that is gone stays gone.
local touched = 0
local offset, bytes = tonumber(ARGV[3]), ARGV[4]
for i = 1, #KEYS, 2 do
  local memory = redis.call('HMGET', KEYS[i], 'b', 'a', 'i')
  local first, count = tonumber(ARGV[4 + i]), tonumber(ARGV[5 + i])
  local same = memory[3] and string.match(memory[3], ' .*$') == ' ' .. ARGV[4 + i] .. ' ' .. ARGV[5 + i]
  if memory[1] and same and tonumber(ARGV[1]) - tonumber(memory[2] or '0') >= tonumber(ARGV[2]) then
    redis.call('HSET', KEYS[i], 'a', ARGV[1])
    redis.call('HINCRBY', KEYS[i], 'c', 1)
    for sequence = first, first + count - 1 do
      local item = redis.call('HGET', KEYS[i + 1], sequence)
      if item then
        item = string.sub(item, 1, offset) .. bytes .. string.sub(item, offset + #bytes + 1)
        redis.call('HSET', KEYS[i + 1], sequence, item)
      end
    end
    touched = touched + 1
  end
end
return touched
