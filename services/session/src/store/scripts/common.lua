-- Prepended to every script of the session service.
--
-- KEYS[1] index   zset, one member a live session: "<created, µs>:<absolute expiry, ms>:<id>", scored by expiry in ms
-- KEYS[2] events  stream, capped and TTL-bound: what happened to the user's sessions
-- ARGV[1] bell channel   ARGV[2] events kept at most   ARGV[3] how long they are kept, ms
-- ARGV[4] prefix of the session hashes: all keys share the hash tag {tenant:user}, so a script may reach a
--         session that only the index names (an evicted one, say)
--
-- A session is a hash: c company, p last path, du di dl device, a:<key> attributes, k:<issuer>\n<jti> -> exp (µs)
-- tokens; ct created, ut updated, lu last used (µs); it idle timeout, ad absolute expiry, ex expiry (ms, since PEXPIREAT
-- knows nothing finer); v version. Its own TTL is the truth about its life; the index follows.
-- Use is what slides the expiry: create, patch, touch and rotate. Reading is none.
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

-- What follows from a change, once, whatever was changed: the index outlives its last session by as long as events are
-- kept, since somebody may come so late to be told of its end; and watchers hear the bell. Call before every return that
-- follows a change.
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

-- Ends what expired since the last use. The hash goes too: near the edge its own TTL may be a tick behind TIME.
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

-- The hash as a table, or nil, and as the flat list that the service decodes.
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

-- Notes in `state` that it is used now: its expiry is its idle timeout from now, under its absolute cap. The caller writes
-- `lu` and `ex`.
local function slide(state)
  state.lu = string.format('%.0f', now)
  state.ex = string.format('%.0f', math.min(now_ms + tonumber(state.it), tonumber(state.ad)))
end

-- Makes the TTL of the session in `key`, and its place in the index, follow its expiry.
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

-- What a session needs besides its content.
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

-- The session that an earlier call with this request id made: nil, or the reply to give.
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

-- The first of the tokens among the fields in ARGV[first..last] that has expired, or nil.
local function expired_token(first, last)
  for i = first, last, 2 do
    if string.sub(ARGV[i], 1, 2) == 'k:' and tonumber(ARGV[i + 1]) <= now then return ARGV[i] end
  end
end
