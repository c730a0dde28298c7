-- Prepended to every script of the session service.
--
-- KEYS[1] index   zset, one member per live session: "<created, µs>:<absolute expiry, ms>:<id>", scored by expiry in ms
-- KEYS[2] events  stream, capped and TTL-bound: events of the user's sessions
-- ARGV[1] bell channel   ARGV[2] maximum of events   ARGV[3] their life, ms
-- ARGV[4] prefix of the session hashes: all keys share the hash tag {tenant:user}, so a script may reach a
--         session that only the index names (an evicted one, say)
--
-- A session is a hash: c company, p last path, du di dl device, a:<key> attributes, k:<issuer>\n<jti> -> exp (µs)
-- tokens; ct created, ut updated, lu last used (µs); it idle timeout, ad absolute expiry, ex expiry (ms, the unit of
-- PEXPIREAT); v version. Its own TTL decides on its life; the index follows.
-- Use slides the expiry: create, patch, touch and rotate. A read does not.
--
-- Time is the server's. Numbers are integers below 2^53.

local INDEX, EVENTS, PREFIX = KEYS[1], KEYS[2], ARGV[4]
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now / 1000)
local rang, moved = false, false

local function member(created, absolute, id)
  return string.format('%.0f:%.0f:%s', created, absolute, id)
end

local function parse(m)
  local created, absolute, id = string.match(m, '^(%d+):(%d+):(.+)$')
  return tonumber(created), tonumber(absolute), id
end

-- Appends an event; `fields` is a flat list of names and values.
local function emit(kind, id, fields)
  redis.call('XADD', EVENTS, 'MAXLEN', ARGV[2], '*', 't', kind, 's', id, unpack(fields))
  rang = true
end

-- Concludes a change: the index outlives its last session by the life of events, so that a late watcher still receives the
-- session's end; and the bell rings for watchers. Call before every return that follows a change.
local function conclude()
  if moved then
    local last = redis.call('ZRANGE', INDEX, -1, -1, 'WITHSCORES')[2]
    if last then redis.call('PEXPIREAT', INDEX, string.format('%.0f', tonumber(last) + tonumber(ARGV[3]))) end
  end
  if rang then
    redis.call('PEXPIRE', EVENTS, ARGV[3])
    redis.call('PUBLISH', ARGV[1], EVENTS)
  end
end

-- Ends sessions that expired since the last use. Deletes the hash too: its own TTL may be a tick behind TIME.
local function sweep()
  local dead = redis.call('ZRANGEBYSCORE', INDEX, '-inf', '(' .. string.format('%.0f', now_ms), 'WITHSCORES')
  for i = 1, #dead, 2 do
    local _, absolute, id = parse(dead[i])
    redis.call('ZREM', INDEX, dead[i])
    redis.call('DEL', PREFIX .. id)
    emit('expired', id, { 'r', tonumber(dead[i + 1]) >= absolute and 'absolute' or 'idle' })
  end
end

-- Ends a session that the index names.
local function finish(m, kind, fields)
  local _, _, id = parse(m)
  redis.call('ZREM', INDEX, m)
  redis.call('DEL', PREFIX .. id)
  moved = true
  emit(kind, id, fields)
end

-- Hash as a table, or nil, and as the flat list that the service decodes.
local function load(key)
  local flat = redis.call('HGETALL', key)
  if #flat == 0 then return nil end
  local state = {}
  for i = 1, #flat, 2 do state[flat[i]] = flat[i + 1] end
  return state, flat
end

local function flatten(state)
  local flat = {}
  for f, v in pairs(state) do
    flat[#flat + 1] = f
    flat[#flat + 1] = tostring(v)
  end
  return flat
end

-- Marks `state` as used now: it expires after its idle timeout, capped by its absolute expiry. The caller writes `lu` and
-- `ex`.
local function slide(state)
  state.lu = string.format('%.0f', now)
  state.ex = string.format('%.0f', math.min(now_ms + tonumber(state.it), tonumber(state.ad)))
end

-- Sets the TTL of the session in `key`, and its score in the index, to its expiry.
local function follow(key, id, state)
  redis.call('PEXPIREAT', key, state.ex)
  redis.call('ZADD', INDEX, state.ex, member(tonumber(state.ct), tonumber(state.ad), id))
  moved = true
end

-- Live sessions, newest first, as {created, id, member}; a member whose hash the store lost is ended.
local function live()
  local all = {}
  for _, m in ipairs(redis.call('ZRANGE', INDEX, 0, -1)) do
    local created, _, id = parse(m)
    all[#all + 1] = { created, id, m }
  end
  table.sort(all, function(a, b)
    if a[1] ~= b[1] then return a[1] > b[1] end
    return a[2] > b[2]
  end)
  return all
end

-- {id, flat hash} of a live() row, or nil after ending it as lost.
local function fetch(row)
  local _, flat = load(PREFIX .. row[2])
  if flat then return { row[2], flat } end
  finish(row[3], 'expired', { 'r', 'lost' })
  return nil
end

-- Fields of a session that are not content.
local BOOKKEEPING = { v = true, ct = true, ut = true, lu = true, it = true, ad = true, ex = true }

-- Bytes of content, number of attributes (a:), number of tokens (k:).
local function measure(state)
  local bytes, attributes, tokens = 0, 0, 0
  for f, v in pairs(state) do
    if not BOOKKEEPING[f] then
      bytes = bytes + #f + #v
      local kind, colon = string.byte(f, 1, 2)
      if colon == 58 and kind == 97 then attributes = attributes + 1 end
      if colon == 58 and kind == 107 then tokens = tokens + 1 end
    end
  end
  return bytes, attributes, tokens
end

-- Reply of an earlier call with this request id, or nil.
local function replay(request, fingerprint)
  local prior = redis.call('HMGET', request, 'id', 'fp')
  if not prior[1] then return nil end
  if prior[2] ~= fingerprint then return { 'REUSED' } end
  local _, flat = load(PREFIX .. prior[1])
  if not flat then return { 'MISSING', prior[1] } end
  return { 'OK', prior[1], flat }
end

local function remember(request, fingerprint, id, ttl)
  redis.call('HSET', request, 'id', id, 'fp', fingerprint)
  redis.call('PEXPIRE', request, ttl)
end

-- First expired token among the fields in ARGV[first..last], or nil.
local function expired_token(first, last)
  for i = first, last, 2 do
    if string.sub(ARGV[i], 1, 2) == 'k:' and tonumber(ARGV[i + 1]) <= now then return ARGV[i] end
  end
end
