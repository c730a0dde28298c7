-- ratelimit.decide: decides on buckets. Any number of independent groups in one call, one after the other, each all or nothing.
--
-- A bucket is a string of five little-endian doubles, which hold whole numbers below 2^53 exactly:
--   last   when it was last written, in microseconds of the server's TIME
--   q, r   how long its level takes to leak away from then on: q + r/n microseconds
--   n, p   the rate it was written under: n leak away in p microseconds (lowest terms)
-- A bucket that is empty is not there: its TTL is the time to empty. All products are made by the caller, exactly; here are
-- only sums and comparisons, but for a change of rate.
--
-- A charge that is to be remembered has a record, `print(16) state(1) left(8) last(8)`, its answer, and the nonces (8 bytes
-- each) of the calls that were answered by it: of what request it is, open or settled, what is left of it, the last refund's
-- id. It is given back when the last of those calls gives it back: one that was admitted never does.
--
-- KEYS  each bucket and record that a group names, once.
-- ARGV[1]  the groups, one after the other; little-endian, without gaps:
--   op (1 byte): c(harge), p(eek), g(ive back), s(ettle), d(elete); how many buckets (1 byte); which key is its record (2
--     bytes), 0 for none
--   c with a record: ttl in ms (double), print(16), nonce(8), left (double)
--   g with a record: nonce(8)
--   s: mode (f: this is what it cost; r: give back so much; 1 byte), a sign (+: charge, -: give back; 1 byte), print(16),
--      id of the refund (8), cost (double)
--   for each bucket: which key it is (2 bytes), its flag (1 byte): e(nforce), s(hadow), f(orce: charge even where there is no
--      room, up to twice the capacity), o(vershoot: the same, but refuse where the bucket is in debt, over its capacity, already),
--      and six doubles: what to add (q, r), the capacity (q, r), n, p
--   g, s, d: then for each bucket the channel of its doorbell, its length (1 byte) before it; it rings when the level falls
-- Reply: for each group, in one string: status(1), and unless it is C, N, S or X: now (double), and for each bucket
--          room (1 byte: 0 there was none, 1 there was, 2 there was none and it was charged all the same, 3 the same, but not
--          with all of it, since there is a bound; 8 more if the bucket was in debt already), and q, r, ahead (doubles): its
--          level, and by how much the clock is behind it. With s, what is left (double) comes before now.
--   A admitted, done   R refused, nothing was charged   P an earlier answer; nothing was done   C the record is another request's
--   N there is no such record   S + left (double): it was settled at that   X + left (double): more than is left of it
-- A retry of a charge with the same print gets P and charges nothing. Without a record it charges again. Giving back with a
--   record, settling and deleting may be repeated without harm.
--
-- Keys are read together at the start and written at the end, each once, however many groups name it. Lua makes functions,
-- tables and captured variables anew in each call, which costs as much as a command: what only charges makes few of them.

-- Bytes of the record of a charge of one bucket.
local RECORD = 74
-- So many bytes of nonces; a charge that more calls stand on is not given back.
local HOLDERS, NOBODY = 128, '\0\0\0\0\0\0\0\0'

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local args, at = ARGV[1], 1
-- What the keys hold, and for how many milliseconds what was changed of it is to live: 0 not at all, -1 as long as before.
-- What is no string is none: what somebody else wrote here must not fail the calls beside this one.
local values, lives = redis.call('MGET', unpack(KEYS)), {false, false, false, false}

-- Level now of what a key holds, by how much the clock is behind it, and whether it has to be written even if nothing is
-- charged: a level that was kept under another rate would go on to leak at that.
local function level(bucket, now, n, p)
  if not bucket or #bucket < 40 then return 0, 0, 0, false end
  local last, q, r, n0, p0 = struct.unpack('<ddddd', bucket)
  local ahead, wrong = last - now, false
  if ahead > 10000000 then
    -- So far ahead was a server whose clock was wrong: the level stands, the time does not.
    ahead, wrong = 0, true
  elseif ahead <= 0 then
    q, ahead = q + ahead, 0
    if q < 0 then return 0, 0, 0, false end
  end
  if n0 == n and p0 == p then return q, r, ahead, wrong end
  -- The same amount under another rate, never less of it: rounded up by more than doubles can err. None lasts longer than
  -- two years.
  local d = (q + r / n0) * (n0 / p0) * (p / n) * (1 + 2 ^ -50)
  if d >= 63244800000000 then return 63244800000000, 0, ahead, true end
  q = math.floor(d)
  r = math.ceil((d - q) * n)
  if r >= n then return q + 1, 0, ahead, true end
  return q, r, ahead, true
end

-- What a key is to hold, and for how long.
local function stored(now, q, r, ahead, n, p)
  if q == 0 and r == 0 then return false, 0 end
  return struct.pack('<ddddd', now + ahead, q, r, n, p), math.floor((q + ahead) / 1000) + 2
end

-- Adds, up to twice the capacity: what there is no room for is not charged, and nothing is taken for it. The third value is
-- whether all of it was.
local function capped(q, r, iq, ir, cq, cr, n)
  local nq, nr = q + iq, r + ir
  if nr >= n then nq, nr = nq + 1, nr - n end
  local mq, mr = 2 * cq, 2 * cr
  if mr >= n then mq, mr = mq + 1, mr - n end
  if nq < mq or (nq == mq and nr <= mr) then return nq, nr, true end
  if mq < q or (mq == q and mr < r) then return q, r, false end
  return mq, mr, false
end

-- Of the group in hand: its answer; and of each bucket its key, the level that it would have, its rate, and whether it has
-- to be written in any case. With room for three buckets: a table that grows costs more than one that is made.
local said = {'', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
local goal = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

local function charge(commits, count, record)
  local kept
  if record > 0 then
    kept = string.sub(args, at, at + 39)
    at = at + 40
    local known = values[record]
    if known and #known >= RECORD then
      at = at + 51 * count
      if string.sub(known, 1, 16) ~= string.sub(kept, 9, 24) then return 'C' end
      -- From now on this call stands on it as well: another one that was refused elsewhere must not give it back.
      local holders = #known - 41 - 25 * count
      if holders <= HOLDERS then
        values[record] = known .. (holders < HOLDERS and string.sub(kept, 25, 32) or NOBODY)
        lives[record] = lives[record] or -1
      end
      return 'P' .. string.sub(known, 34, 41 + 25 * count)
    end
  end
  local admitted, s, g = true, 3, 1
  for _ = 1, count do
    local key, flag, iq, ir, cq, cr, n, p, after = struct.unpack('<HBdddddd', args, at)
    local q, r, ahead, wrong = level(values[key], now, n, p)
    local nq, nr, room = q + iq, r + ir, 1
    if nr >= n then nq, nr = nq + 1, nr - n end
    if nq > cq or (nq == cq and nr > cr) then
      room = 0
      local debt = q > cq or (q == cq and r > cr)
      if flag == 101 or (flag == 111 and debt) then
        admitted = false
      elseif flag ~= 115 then
        local whole
        nq, nr, whole = capped(q, r, iq, ir, cq, cr, n)
        room = (whole and 2 or 3) + (debt and 8 or 0)
      end
    end
    said[s], said[s + 1], said[s + 2], said[s + 3] = room, q, r, ahead
    goal[g], goal[g + 1], goal[g + 2], goal[g + 3], goal[g + 4], goal[g + 5] = key, nq, nr, n, p, wrong
    at, s, g = after, s + 4, g + 6
  end
  s = 3
  for i = 1, 6 * count, 6 do
    local charged = commits and admitted and said[s] > 0
    if charged then said[s + 1], said[s + 2] = goal[i + 1], goal[i + 2] end
    if charged or goal[i + 5] then
      local key = goal[i]
      values[key], lives[key] = stored(now, said[s + 1], said[s + 2], said[s + 3], goal[i + 3], goal[i + 4])
    end
    s = s + 4
  end
  said[1], said[2] = admitted and 'A' or 'R', now
  local answer
  if count == 1 then
    answer = struct.pack('<c1dBddd', said[1], now, said[3], said[4], said[5], said[6])
  else
    answer = struct.pack('<c1d' .. string.rep('Bddd', count), unpack(said, 1, 4 * count + 2))
  end
  if record > 0 and admitted then
    local print, left, nonce = string.sub(kept, 9, 24), string.sub(kept, 33, 40), string.sub(kept, 25, 32)
    values[record] = print .. 'o' .. left .. NOBODY .. string.sub(answer, 2) .. nonce
    lives[record] = struct.unpack('<d', kept)
  end
  return answer
end

-- What is asked for more seldom, by its letter.
local function others()
  local unpack, pack, sub = struct.unpack, struct.pack, string.sub

  -- Takes the next doorbell's channel, and rings for a key, if there is one.
  local function ring(key)
    local channel, after = unpack('Bc0', args, at)
    if key then redis.call('PUBLISH', channel, KEYS[key]) end
    at = after
  end

  -- Adds to or takes from each bucket that was charged, by the answer if there is one. The doorbell rings where less is
  -- there than before.
  local function shift(count, sign, done, answer)
    local levels, fell = {pack('<d', now)}, {}
    for i = 1, count do
      local key, _, iq, ir, cq, cr, n, p, after = unpack('<HBdddddd', args, at)
      local q, r, ahead, changed = level(values[key], now, n, p)
      local charged = not answer or string.byte(answer, 25 * i - 16) > 0
      if not done and charged and (iq > 0 or ir > 0) then
        if sign == '+' then
          q, r = capped(q, r, iq, ir, cq, cr, n)
          changed = true
        elseif q > 0 or r > 0 then
          q, r = q - iq, r - ir
          if r < 0 then q, r = q - 1, r + n end
          if q < 0 then q, r = 0, 0 end
          changed, fell[i] = true, key
        end
      end
      if changed then values[key], lives[key] = stored(now, q, r, ahead, n, p) end
      levels[i + 1] = pack('<Bddd', 1, q, r, ahead)
      at = after
    end
    for i = 1, count do ring(fell[i]) end
    return table.concat(levels)
  end

  local function give(count, record)
    local done, answer = false, nil
    if record > 0 then
      local known, nonce = values[record], sub(args, at, at + 7)
      local first = 42 + 25 * count
      at, done = at + 8, true
      for i = first, known and #known or 0, 8 do
        if sub(known, i, i + 7) == nonce then
          local rest = sub(known, 1, i - 1) .. sub(known, i + 8)
          done = #rest >= first
          if done then
            values[record], lives[record] = rest, lives[record] or -1
          else
            answer = sub(known, 34)
            values[record], lives[record] = false, 0
          end
          break
        end
      end
    end
    return (done and 'P' or 'A') .. shift(count, '-', done, answer)
  end

  local function settle(count, record)
    local mode, sign, print, id, cost, after = unpack('<c1c1c16c8d', args, at)
    local known = values[record]
    at = after
    local refusal, done, changed = nil, false, nil
    if not known or #known < RECORD or sub(known, 1, 16) ~= print then
      refusal = 'N'
    else
      local state, left, last = sub(known, 17, 17), unpack('<d', known, 18), sub(known, 26, 33)
      if mode == 'f' then
        if state == 's' then
          done = left == cost
          if not done then refusal = 'S' .. pack('<d', left) end
        else
          changed = sub(known, 1, 16) .. 's' .. pack('<d', cost) .. sub(known, 26)
        end
      elseif id ~= NOBODY and id == last then
        done, cost = true, left
      elseif cost > left then
        refusal = 'X' .. pack('<d', left)
      else
        cost = left - cost
        changed = sub(known, 1, 17) .. pack('<d', cost) .. id .. sub(known, 34)
      end
    end
    if refusal then
      at = at + 51 * count
      for _ = 1, count do ring() end
      return refusal
    end
    if changed then values[record], lives[record] = changed, lives[record] or -1 end
    return (done and 'P' or 'A') .. pack('<d', cost) .. shift(count, sign, done, sub(known, 34))
  end

  local function delete(count)
    local levels, first = {pack('<d', now)}, at
    at = at + 51 * count
    for i = 1, count do
      local key = unpack('<H', args, first + 51 * (i - 1))
      levels[i + 1] = pack('<Bddd', values[key] and 1 or 0, 0, 0, 0)
      values[key], lives[key] = false, 0
      ring(key)
    end
    return 'A' .. table.concat(levels)
  end

  return {[103] = give, [115] = settle, [100] = delete}
end

local out, made = {}, nil
while at <= #args do
  local op, count, record, after = struct.unpack('<BBH', args, at)
  at = after
  if op == 99 or op == 112 then
    out[#out + 1] = charge(op == 99, count, record)
  else
    made = made or others()
    out[#out + 1] = made[op](count, record)
  end
end
for key = 1, #KEYS do
  local life = lives[key]
  if life then
    if life > 0 then
      redis.call('SET', KEYS[key], values[key], 'PX', life)
    elseif life == 0 then
      redis.call('DEL', KEYS[key])
    else
      redis.call('SET', KEYS[key], values[key], 'KEEPTTL')
    end
  end
end
return table.concat(out)
