-- memory.fill: writes postings and vectors of items that still stand in their record.
--
-- KEYS[1] record (hash)   KEYS[2] directory (hash)
-- KEYS[3..] for each item: a posting list (zset) for each impact, and its vector (hash) if there is one
-- ARGV[1] tag of the owner in the index   ARGV[2] name of the record   ARGV[3] now in ms
-- ARGV[4..] for each item: sequence, packed item, expiry in ms, number of impacts, impacts, vector or ''
-- Reply: number of postings and vectors that were missing
-- A retry is idempotent. An item that was removed or replaced meanwhile is left out: its id is another.
local at, key, missing = 3, 2, 0
local function take()
  at = at + 1
  return ARGV[at]
end
local function next_key()
  key = key + 1
  return KEYS[key]
end
local function keep(name, until_ms)
  local ends = redis.call('PEXPIRETIME', name)
  if ends == -1 or (ends >= 0 and ends < until_ms) then redis.call('PEXPIREAT', name, until_ms) end
end
local kept = redis.call('HEXISTS', KEYS[2], 'lg') == 1
while at < #ARGV do
  local sequence, item, expires = take(), take(), take()
  local impacts, lists = {}, {}
  for i = 1, tonumber(take()) do impacts[i], lists[i] = take(), next_key() end
  local vector = take()
  local vector_key = vector ~= '' and next_key()
  local present = redis.call('HGET', KEYS[1], sequence)
  -- The id of a packed item stands at bytes 46 to 61.
  if kept and present and string.sub(present, 46, 61) == string.sub(item, 46, 61) then
    local ends = math.max(tonumber(expires), tonumber(ARGV[3])) + 86400000
    for i, list in ipairs(lists) do
      missing = missing + redis.call('ZADD', list, impacts[i], ARGV[2] .. ' ' .. sequence)
      keep(list, ends)
    end
    if vector_key then
      missing = missing + math.min(1, redis.call('HSET', vector_key, '_s', ARGV[1], 'v', vector, 'r', ARGV[2], 'q', sequence))
      keep(vector_key, ends)
    end
  end
end
return missing
