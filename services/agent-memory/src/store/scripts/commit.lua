-- memory.commit: writes, changes and removes memories of one owner, all of them or none.
--
-- A memory is a hash: b body, v revision, a last use in ms, c number of uses, x expiry in ms, s state, w first moment after
-- validity in ms, i place (number of the record, first sequence, number of items), k number of later memories of its text.
-- The directory has n items, m memories, b bytes, t tokens, l words, rev last revision, open number of the record that
-- memories without a session are added to, lg 'b' while postings and vectors are built and '1' with them, and
-- s:<record> the next sequence of each record.
--
-- KEYS[1] directory (hash)   KEYS[2] expiries (zset)   KEYS[3] subjects (hash)   KEYS[4] owners (zset)
-- KEYS[5..] keys of the operations, in their order
-- ARGV[1] owner   ARGV[2] now in ms   ARGV[3] '1' if the operations name postings and vectors, else ''
-- ARGV[4] tag of the owner in the index   ARGV[5] n, then n/2 pairs of a subject and the id that it must have, '' for none
-- then the operations:
--   'P' put: id, expiry, record, most items of it or '', sequence or '' for the next, subject or '', n and n field names and
--     values; number of items, and for each: bytes, tokens, words, n and n impacts, vector or ''
--     keys: memory, record, for each item: a posting list for each impact, and its vector if there is one
--   'U' change: id, revision, expiry or '', first sequence, number of items, n and n field names and values to set,
--     n and n field names to delete, n and n/2 pairs of offset and bytes, n and n items that replace the present ones, number
--     of vectors
--     keys: memory, record, vectors
--   'D' delete: id, revision, record, first sequence, number of items, tokens, words, subject or '', id that the subject falls
--     back to or '', n and n members of postings, number of vectors
--     keys: memory, record, posting lists, vectors
-- Reply: {'OK', revision, items of the owner, for each put its first sequence} | {'CHANGED'}: another state than the
-- operations expect, nothing was done | {'FULL'}: the record of a put is full; its number has moved on
-- A retry after an unknown outcome replies CHANGED.
local DAY = 86400000
local call = redis.call
local at, key = 0, 4
local function take()
  at = at + 1
  return ARGV[at]
end
local function several(n)
  local list = {}
  for i = 1, n do list[i] = take() end
  return list
end
local function many() return several(tonumber(take())) end
local function next_key()
  key = key + 1
  return KEYS[key]
end
local function keys(n)
  local list = {}
  for i = 1, n do list[i] = next_key() end
  return list
end

local owner, now, large, tag = take(), tonumber(take()), take(), take()
local guards = many()

local function parse_put()
  local op = { kind = 'P', memory = next_key(), record = next_key(), id = take(), expires = take(), name = take() }
  op.most, op.at, op.subject, op.fields, op.items = take(), take(), take(), many(), {}
  for i = 1, tonumber(take()) do
    local item = { bytes = take(), tokens = take(), words = take(), impacts = many(), vector = take() }
    item.lists = keys(#item.impacts)
    if item.vector ~= '' then item.key = next_key() end
    op.items[i] = item
  end
  return op
end
local function parse_change()
  local op = { kind = 'U', memory = next_key(), record = next_key(), id = take(), revision = take(), expires = take() }
  op.first, op.count, op.set, op.unset, op.patches = tonumber(take()), tonumber(take()), many(), many(), many()
  op.items, op.vectors = many(), keys(tonumber(take()))
  return op
end
local function parse_delete()
  local op = { kind = 'D', memory = next_key(), record = next_key(), id = take(), revision = take(), name = take() }
  op.first, op.count, op.tokens, op.words = tonumber(take()), tonumber(take()), take(), take()
  op.subject, op.heir, op.members = take(), take(), many()
  op.lists = keys(#op.members)
  op.vectors = keys(tonumber(take()))
  return op
end
local ops = {}
while at < #ARGV do
  local kind = take()
  ops[#ops + 1] = (kind == 'P' and parse_put or kind == 'U' and parse_change or parse_delete)()
end

-- Checks: nothing is written unless all hold.
if (call('HGET', KEYS[1], 'lg') and '1' or '') ~= large then return { 'CHANGED' } end
for i = 1, #guards, 2 do
  if (call('HGET', KEYS[3], guards[i]) or '') ~= guards[i + 1] then return { 'CHANGED' } end
end
for _, op in ipairs(ops) do
  local revision = call('HGET', op.memory, 'v')
  if (revision or '') ~= (op.revision or '') then return { 'CHANGED' } end
  if op.kind == 'P' and op.most ~= '' and call('HLEN', op.record) >= tonumber(op.most) then
    call('HSET', KEYS[1], 'open', tonumber(string.sub(op.name, 2)) + 1)
    return { 'FULL' }
  end
end

local sums = { n = 0, m = 0, b = 0, t = 0, l = 0 }
local function count(n, m, b, t, l)
  sums.n, sums.m, sums.b, sums.t, sums.l = sums.n + n, sums.m + m, sums.b + b, sums.t + t, sums.l + l
end
local function keep(name, until_ms)
  local ends = call('PEXPIRETIME', name)
  if ends == -1 or (ends >= 0 and ends < until_ms) then call('PEXPIREAT', name, until_ms) end
end
local last = 0
local function latest(expires)
  if expires > last then last = expires end
end

local revision = tonumber(call('HGET', KEYS[1], 'rev') or '0') + 1
if revision < now then revision = now end
local stamp = string.format('%.0f', revision)

local function put(op)
  local ends = math.max(tonumber(op.expires), now) + DAY
  local free = tonumber(call('HGET', KEYS[1], 's:' .. op.name) or '0')
  local first = tonumber(op.at) or free
  call('HSET', op.memory, 'v', stamp, 'x', op.expires, unpack(op.fields))
  local number = string.match(op.name, '^#(%d+)$') or '0'
  call('HSET', op.memory, 'i', number .. ' ' .. first .. ' ' .. #op.items)
  call('PEXPIREAT', op.memory, ends)
  call('ZADD', KEYS[2], op.expires, op.id)
  count(#op.items, 1, call('HSTRLEN', op.memory, 'b'), 0, 0)
  for i, item in ipairs(op.items) do
    local sequence = string.format('%.0f', first + i - 1)
    call('HSET', op.record, sequence, item.bytes)
    count(0, 0, #item.bytes, tonumber(item.tokens), tonumber(item.words))
    for j, list in ipairs(item.lists) do
      call('ZADD', list, item.impacts[j], op.name .. ' ' .. sequence)
      keep(list, ends)
    end
    if item.key then
      call('HSET', item.key, '_s', tag, 'v', item.vector, 'r', op.name, 'q', sequence)
      call('PEXPIREAT', item.key, ends)
    end
  end
  keep(op.record, ends)
  call('HSET', KEYS[1], 's:' .. op.name, math.max(free, first + #op.items))
  if op.subject ~= '' then
    call('HSET', KEYS[3], op.subject, op.id)
    keep(KEYS[3], ends)
  end
  latest(ends)
  return first
end

local function change(op)
  local before = call('HSTRLEN', op.memory, 'b')
  call('HSET', op.memory, 'v', stamp, unpack(op.set))
  if #op.unset > 0 then call('HDEL', op.memory, unpack(op.unset)) end
  count(0, 0, call('HSTRLEN', op.memory, 'b') - before, 0, 0)
  for i = 0, op.count - 1 do
    local sequence = string.format('%.0f', op.first + i)
    local item = call('HGET', op.record, sequence)
    if item then
      for j = 1, #op.patches, 2 do
        local offset, bytes = tonumber(op.patches[j]), op.patches[j + 1]
        item = string.sub(item, 1, offset) .. bytes .. string.sub(item, offset + #bytes + 1)
      end
      if #op.patches > 0 then call('HSET', op.record, sequence, item) end
    end
  end
  for i, item in ipairs(op.items) do
    local sequence = string.format('%.0f', op.first + i - 1)
    count(0, 0, #item - call('HSTRLEN', op.record, sequence), 0, 0)
    call('HSET', op.record, sequence, item)
  end
  if op.expires ~= '' then
    local ends = math.max(tonumber(op.expires), now) + DAY
    call('HSET', op.memory, 'x', op.expires)
    call('PEXPIREAT', op.memory, ends)
    call('ZADD', KEYS[2], op.expires, op.id)
    for _, vector in ipairs(op.vectors) do call('PEXPIREAT', vector, ends) end
    keep(op.record, ends)
    latest(ends)
  end
end

local function delete(op)
  count(0, -1, -call('HSTRLEN', op.memory, 'b'), -tonumber(op.tokens), -tonumber(op.words))
  for i = 0, op.count - 1 do
    local sequence = string.format('%.0f', op.first + i)
    local size = call('HSTRLEN', op.record, sequence)
    if size > 0 then
      count(-1, 0, -size, 0, 0)
      call('HDEL', op.record, sequence)
    end
  end
  if call('EXISTS', op.record) == 0 then call('HDEL', KEYS[1], 's:' .. op.name) end
  call('UNLINK', op.memory, unpack(op.vectors))
  call('ZREM', KEYS[2], op.id)
  for i, list in ipairs(op.lists) do call('ZREM', list, op.members[i]) end
  if op.subject ~= '' and call('HGET', KEYS[3], op.subject) == op.id then
    if op.heir ~= '' then call('HSET', KEYS[3], op.subject, op.heir) else call('HDEL', KEYS[3], op.subject) end
  end
end

local sequences = {}
for _, op in ipairs(ops) do
  if op.kind == 'D' then delete(op) end
end
for _, op in ipairs(ops) do
  if op.kind == 'P' then
    sequences[#sequences + 1] = put(op)
  elseif op.kind == 'U' then
    change(op)
  end
end
for field, by in pairs(sums) do
  if by ~= 0 then call('HINCRBY', KEYS[1], field, by) end
end
if tonumber(call('HGET', KEYS[1], 'm') or '0') <= 0 then
  call('UNLINK', KEYS[1], KEYS[3])
  call('ZREM', KEYS[4], owner)
  return { 'OK', stamp, 0, sequences }
end
call('HSET', KEYS[1], 'rev', stamp)
call('ZADD', KEYS[4], now, owner)
for _, name in ipairs({ KEYS[1], KEYS[2], KEYS[4] }) do
  if last > 0 then keep(name, last) end
end
return { 'OK', stamp, tonumber(call('HGET', KEYS[1], 'n')), sequences }
