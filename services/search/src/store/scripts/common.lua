-- Documents of one partition, their counters and checksums.
--
-- A document is a hash: columns of the index (t0.. words, g0.. tags, n0.. numbers, _s scope, _r spread), and _f packed values,
-- _b body, _k terms, _i id if the key holds only its hash, _v revision, _w caller's version, _x expiry in ms, _c and _u times
-- of creation and change in us. The state of a partition has e epoch, l live generation, s second generation or '',
-- rev last revision, c:<generation> checksum, bad:<epoch> document that the second generation's schema has no place for.
--
-- Counters of a generation: n documents, b bytes of bodies, t bytes of words, v:<column>:<tag> documents with a tag,
-- p:<column> documents with a number. They are collected, and written by flush; n with zeros before it.

local call = redis.call
local byte, find, sub, format = string.byte, string.find, string.sub, string.format

-- Number of documents as text. Its 65 digits make a hash of counters a table: as a list, the engine's form of up to 512 fields
-- of at most 64 bytes, it would be searched from its start for each field.
local function padded(number) return format('%065.0f', number) end

-- Most fields in one command: Lua's stack holds some 8,000 values.
local SLICE = 1000

-- Rejects a writer of an outdated definition; brings the partition forward to a newer one. Returns a reply to end with, or nil.
local function fence(state, epoch, live, second)
  local known = tonumber(call('HGET', state, 'e'))
  if not known or known > tonumber(epoch) then return { 'STALE' } end
  if known < tonumber(epoch) then call('HSET', state, 'e', epoch, 'l', live, 's', second) end
  return nil
end

local function whole(number) return format('%.0f', number) end

local counters, sums = {}, {}

-- Counts the tags of a column in (by 1) or out (by -1).
local function count_tags(counts, column, tags, by)
  local prefix, from = 'v:' .. column .. ':', 1
  repeat
    local bar = find(tags, '|', from, true)
    local name = prefix .. sub(tags, from, bar and bar - 1)
    counts[name] = (counts[name] or 0) + by
    from = bar and bar + 1
  until not from
end

-- Counts the fields of a document in (by 1) or out (by -1). Returns its revision, expiry and terms.
local function count(count_key, flat, by)
  local counts = counters[count_key]
  if not counts then
    counts = { n = 0, b = 0, t = 0 }
    counters[count_key] = counts
  end
  counts.n = counts.n + by
  local revision, expires, terms
  for i = 1, #flat, 2 do
    local name = flat[i]
    local kind = byte(name)
    if kind == 95 then -- _
      if name == '_b' then
        counts.b = counts.b + by * #flat[i + 1]
      elseif name == '_v' then
        revision = flat[i + 1]
      elseif name == '_x' then
        expires = flat[i + 1]
      elseif name == '_k' then
        terms = flat[i + 1]
      end
    elseif kind == 116 then -- t
      counts.t = counts.t + by * #flat[i + 1]
    elseif kind == 103 then -- g
      count_tags(counts, name, flat[i + 1], by)
    else
      name = 'p:' .. name
      counts[name] = (counts[name] or 0) + by
    end
  end
  return revision, expires, terms
end

-- Adds a document to the checksum of a generation: first 48 bits of the SHA-1 of id and revision.
local function sum(state, gen, id, revision, by)
  local entry = sums[gen]
  if not entry then
    entry = { state, 'c:' .. gen, 0 }
    sums[gen] = entry
  end
  entry[3] = entry[3] + by * tonumber(sub(redis.sha1hex(id .. '\0' .. revision), 1, 12), 16)
end

-- Writes a whole document in place of another; `flat` has names and values, _v among them, and `old` those of the present
-- document, if they are known. Returns the replaced terms, or nil.
local function put(key, count_key, state, gen, id, flat, old)
  old = old or call('HGETALL', key)
  local revision, expires = count(count_key, flat, 1)
  local terms = nil
  if #old > 0 then
    local replaced, _, former = count(count_key, old, -1)
    sum(state, gen, id, replaced, -1)
    terms = former
    local fields, vanished = {}, {}
    for i = 1, #flat, 2 do fields[flat[i]] = true end
    for i = 1, #old, 2 do
      if not fields[old[i]] then vanished[#vanished + 1] = old[i] end
    end
    if #vanished > 0 then call('HDEL', key, unpack(vanished)) end
    if not expires then call('PERSIST', key) end
  end
  call('HSET', key, unpack(flat))
  -- A day after the expiry nobody has swept the document: the engine removes it. Never at once, since it stays counted.
  if expires then
    local now = tonumber(call('TIME')[1]) * 1000
    call('PEXPIREAT', key, whole(math.max(tonumber(expires), now) + 86400000))
  end
  sum(state, gen, id, revision, 1)
  return terms
end

-- Removes a document. Returns its terms, or nil if there is none.
local function drop(key, count_key, state, gen, id)
  local old = call('HGETALL', key)
  if #old == 0 then return nil end
  local revision, _, terms = count(count_key, old, -1)
  sum(state, gen, id, revision, -1)
  call('DEL', key)
  return terms or ''
end

-- Adds numbers to the fields of a hash, and removes those that end at zero.
local function add(key, changes)
  local names = {}
  for name, by in pairs(changes) do
    if by ~= 0 then names[#names + 1] = name end
  end
  for from = 1, #names, SLICE do
    local to = math.min(from + SLICE - 1, #names)
    local before = call('HMGET', key, unpack(names, from, to))
    local kept, ended, n = {}, {}, 0
    for i = from, to do
      local name = names[i]
      local number = tonumber(before[i - from + 1] or 0) + changes[name]
      if number == 0 then
        ended[#ended + 1] = name
      else
        kept[n + 1], kept[n + 2], n = name, (name == 'n' and padded or whole)(number), n + 2
      end
    end
    if n > 0 then call('HSET', key, unpack(kept)) end
    if #ended > 0 then call('HDEL', key, unpack(ended)) end
  end
end

-- Writes the collected counters and checksums.
local function flush()
  for key, counts in pairs(counters) do add(key, counts) end
  for _, entry in pairs(sums) do
    local before = tonumber(call('HGET', entry[1], entry[2]) or '0')
    call('HSET', entry[1], entry[2], whole((before + entry[3]) % 281474976710656))
  end
  counters, sums = {}, {}
end
