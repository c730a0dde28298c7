-- Prepended to every script that writes revocations.
--
-- KEYS[1] head   hash of the partition: q number and n nonce of the last entry of the feed; v the partition's clock, µs;
--                c since when the filters tell of everything, ms (0: always); b<bucket> a filter: '+' if it can be trusted,
--                else '-', and until when it is needed, ms; l what was handed over after a loss: see lost.lua
-- KEYS[2] feed   stream of states in full; id <v / 1000>-<v % 1000>; fields q (dense), n nonce, p nonce of the entry before,
--                s target, t state, and in a re-append w: the state's own version, which is older than the id
-- ARGV[1] items in this call   ARGV[2] how long the feed is kept, ms   ARGV[3] how long the head is kept, ms
-- ARGV[4] how long the audit is kept, ms
-- ARGV[5] generation of filters for tokens of unknown expiry, by the caller's idea of the time   ARGV[6] its length, ms
-- ARGV[7] false positives of a filter that is made, 0 to 1   ARGV[8] its first capacity
--
-- A record is a string, `<version>;<ms of its last re-append, if any>;<state>;<target, but of a token>`; a state is
-- `<R|U>;<expires, ms>;<cutoff, ms>;<exp of the token, ms>;<sid>=<cutoff>,...`. The higher version holds. Versions are µs by
-- the clock of the partition, which never stands still and never goes back.
--
-- A filter counts only where flag and key both say that it was left nothing out of. What fails about it fails no call.
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
  -- If the head alone was lost, the feed goes on where it ends, and what the filters lack can't be known.
  local last = redis.call('XREVRANGE', FEED, '+', '-', 'COUNT', 1)[1]
  if last then
    local fields = {}
    for i = 1, #last[2], 2 do fields[last[2][i]] = last[2][i + 1] end
    local ms, rest = string.match(last[1], '^(%d+)-(%d+)$')
    q, nonce, top, since = tonumber(fields.q), fields.n, ms * 1000 + rest, now_ms
  end
end
open()

-- Whether the caller's keys of this generation are those of now. Else: nothing was written, and the caller tries again.
local GENERATION = math.floor(now_ms / tonumber(ARGV[6]))
local elsewhen = GENERATION ~= tonumber(ARGV[5])

-- A record, or nil. One that can't be read is of version 0 and undone, so that whatever is written mends it.
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

-- The next moment of the partition's clock.
local function tick(known)
  top = math.max(now, top + 1, known and known.version + 1 or 0)
  return int(top)
end

local trimmed, latest = false, 0

-- Appends a state to the feed, at the last tick; `own` is its version where that is older.
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

-- Makes a key that exists live until `expires` at least.
local function extend(key, expires)
  if redis.call('PEXPIREAT', key, expires, 'GT') == 0 then redis.call('PEXPIREAT', key, expires, 'NX') end
end

-- Writes a record; its key never dies earlier than it would have.
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

-- Lists a revoked key with those of its issuer, where it is found by whoever does not know its kid. One that was undone stays
-- in the list: its record says so.
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

-- Makes a filter for a bucket that has none, and forgets the flags of those that are over.
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

-- Puts a token into the filter of a bucket, or notes that the filter can't be trusted any more.
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

-- Writes down who did what, and why.
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

-- To be called once, at the end. It writes even where nothing changed, so that a WAIT after it covers what was there before.
local function close()
  if latest > 0 then
    redis.call('HSET', HEAD, 'q', int(q), 'n', nonce, 'v', int(top))
    if fresh then redis.call('HSET', HEAD, 'c', int(since)) end
    extend(FEED, int(latest))
  end
  redis.call('PEXPIRE', HEAD, ARGV[3])
end
