-- Prepended to every script that writes revocations.
--
-- KEYS[1] head   hash of the partition: q number and n nonce of the last entry of the feed; v the partition's clock, µs;
--                c moment since which the filters are complete, ms (0: always); b<bucket> a filter: '+' if it can be
--                trusted, else '-', and the moment until which it is needed, ms; l notice of a handover: see lost.lua
-- KEYS[2] feed   stream of states in full; id <v / 1000>-<v % 1000>; fields q (dense), n nonce, p nonce of the entry before,
--                s target, t state, and in a re-append w: the state's own version, which is older than the id
-- ARGV[1] items in this call   ARGV[2] lifetime of feed entries, ms   ARGV[3] lifetime of the head, ms
-- ARGV[4] lifetime of the audit, ms
-- ARGV[5] generation of filters for tokens of unknown expiry, by the caller's time   ARGV[6] its length, ms
-- ARGV[7] false positives of a new filter, 0 to 1   ARGV[8] first capacity of a new filter
--
-- A record is a string, `<version>;<ms of its last re-append, if any>;<state>;<target, but of a token>`; a state is
-- `<R|U>;<expires, ms>;<cutoff, ms>;<exp of the token, ms>;<sid>=<cutoff>,...`. The higher version holds. Versions are µs by
-- the clock of the partition, which never stands still and never goes back.
--
-- A filter counts only where flag and key both show that it is complete. A failure of a filter fails no call.
--
-- Time is the server's. Numbers are integers below 2^53.

local HEAD, FEED, ITEMS = KEYS[1], KEYS[2], tonumber(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now / 1000)

local function int(number)
  return string.format('%.0f', number)
end

local q, nonce, top, since, fresh

local function open()
  local head = redis.call('HMGET', HEAD, 'q', 'n', 'v', 'c')
  if head[1] then
    q, nonce, top, since, fresh = tonumber(head[1]), head[2], tonumber(head[3]), tonumber(head[4]) or 0, false
    return
  end
  q, nonce, top, since, fresh = 0, '', 0, 0, true
  -- If the head alone was lost, the feed goes on where it ends, and the filters may be incomplete.
  local last = redis.call('XREVRANGE', FEED, '+', '-', 'COUNT', 1)[1]
  if last then
    local fields = {}
    for i = 1, #last[2], 2 do fields[last[2][i]] = last[2][i + 1] end
    local ms, rest = string.match(last[1], '^(%d+)-(%d+)$')
    q, nonce, top, since = tonumber(fields.q), fields.n, ms * 1000 + rest, now_ms
  end
end
open()

-- True if the caller's keys are those of another generation than now. Then nothing is written, and the caller calls again.
local GENERATION = math.floor(now_ms / tonumber(ARGV[6]))
local elsewhen = GENERATION ~= tonumber(ARGV[5])

-- Reads a record, or nil. A malformed one counts as version 0 and undone, so that any write mends it.
local function load(key)
  local text = redis.call('GET', key)
  if not text then return nil end
  local version, appended, state, target = string.match(text, '^(%d+);(%d*);([RU];%d+;[^;]*;[^;]*;[^;]*);(.*)$')
  if not version then return { text = text, version = 0, appended = 0, undone = true, expires = 0 } end
  local flag, expires, cutoff, exp, kept = string.match(state, '^(.);(%d+);([^;]*);([^;]*);(.*)$')
  local record = { text = text, state = state, target = target, cutoff = tonumber(cutoff), exp = exp, kept = kept }
  record.version, record.undone, record.expires = tonumber(version), flag == 'U', tonumber(expires)
  record.appended = tonumber(appended) or math.floor(record.version / 1000)
  return record
end

-- Advances the partition's clock; returns its moment.
local function tick(known)
  top = math.max(now, top + 1, known and known.version + 1 or 0)
  return int(top)
end

local trimmed, latest = false, 0

-- Appends a state to the feed, at the last tick; `own` is the state's version where that is older.
local function append(new, target, state, expires, own)
  q = q + 1
  local id = string.format('%.0f-%.0f', math.floor(top / 1000), top % 1000)
  local entry = { id, 'q', int(q), 'n', new, 'p', nonce, 's', target, 't', state }
  if own then
    entry[#entry + 1] = 'w'
    entry[#entry + 1] = own
  end
  if trimmed then
    redis.call('XADD', FEED, unpack(entry))
  else
    redis.call('XADD', FEED, 'MINID', '~', int(now_ms - tonumber(ARGV[2])), unpack(entry))
    trimmed = true
  end
  nonce, latest = new, math.max(latest, expires)
end

-- Extends the life of an existing key to `expires` at least.
local function extend(key, expires)
  if redis.call('PEXPIREAT', key, expires, 'GT') == 0 then redis.call('PEXPIREAT', key, expires, 'NX') end
end

-- Writes a record; its key never expires earlier than before.
local function save(key, known, version, appended, state, target, expires)
  local text = table.concat({ version, appended, state, target }, ';')
  if known then
    redis.call('SET', key, text, 'KEEPTTL')
    extend(key, int(expires))
  else
    redis.call('SET', key, text, 'PXAT', int(expires))
  end
  return text
end

-- Lists a revoked key with those of its issuer, for checks that do not know the kid. An undone one stays in the list: its
-- record shows that it is undone.
local function list(keys, id, expires)
  redis.call('ZREMRANGEBYSCORE', keys, '-inf', int(now_ms))
  redis.call('ZADD', keys, 'GT', int(expires), id)
  extend(keys, int(expires))
end

local flags = {}

local function flag(bucket, sign, expires)
  flags[bucket] = sign
  redis.call('HSET', HEAD, 'b' .. bucket, sign .. int(expires))
end

local function failed(reply)
  return type(reply) == 'table' and reply.err ~= nil
end

-- Makes a filter for a bucket that has none, and forgets the flags of buckets that have ended.
local function reserve(filter, bucket, expires)
  if since > 0 and now_ms < since + 2 * tonumber(ARGV[6]) then return flag(bucket, '-', expires) end
  if failed(redis.pcall('BF.RESERVE', filter, ARGV[7], ARGV[8], 'EXPANSION', 2)) then
    return flag(bucket, '-', expires)
  end
  redis.call('PEXPIREAT', filter, int(expires))
  local all = redis.call('HGETALL', HEAD)
  for i = 1, #all, 2 do
    if string.byte(all[i]) == 98 and tonumber(string.sub(all[i + 1], 2)) <= now_ms then redis.call('HDEL', HEAD, all[i]) end
  end
  flag(bucket, '+', expires)
end

-- Puts a token into the filter of a bucket, or marks the filter as not trusted.
local function note(filter, bucket, expires, item)
  if flags[bucket] == nil then
    local known = redis.call('HGET', HEAD, 'b' .. bucket)
    local there = redis.call('EXISTS', filter) == 1
    if known and there then
      flags[bucket] = string.sub(known, 1, 1)
    elseif known or there then
      flag(bucket, '-', expires)
    else
      reserve(filter, bucket, expires)
    end
  end
  if flags[bucket] == '+' and failed(redis.pcall('BF.ADD', filter, item)) then flag(bucket, '-', expires) end
end

local audited = {}

-- Appends to the audit.
local function audit(key, version, state, target, reason, initiator, description)
  local add = { '*', 'v', version, 't', state, 's', target, 'w', reason, 'i', initiator, 'd', description }
  if audited[key] then
    redis.call('XADD', key, unpack(add))
  else
    redis.call('XADD', key, 'MINID', '~', int(now_ms - tonumber(ARGV[4])), unpack(add))
    redis.call('PEXPIRE', key, ARGV[4])
    audited[key] = true
  end
end

-- Writes the head; call it once, at the end. Writes even where nothing changed, so that a WAIT after it covers earlier writes.
local function close()
  if latest > 0 then
    redis.call('HSET', HEAD, 'q', int(q), 'n', nonce, 'v', int(top))
    if fresh then redis.call('HSET', HEAD, 'c', int(since)) end
    extend(FEED, int(latest))
  end
  redis.call('PEXPIRE', HEAD, ARGV[3])
end
