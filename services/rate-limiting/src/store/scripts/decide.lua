-- ratelimit.decide: decides on buckets. Any number of independent groups in one call, one after the other, each all or nothing.
--
-- A bucket is a string of five little-endian doubles, which hold whole numbers below 2^53 exactly:
--   last   when it was last written, in microseconds of the server's TIME
--   q, r   how long its level takes to leak away from then on: q + r/n microseconds
--   n, p   the rate it was written under: n leak away in p microseconds (lowest terms)
-- A bucket that is empty is not there: its TTL is the time to empty. All products are made by the caller, exactly; here are
-- only sums and comparisons, but for a change of rate.
--
-- A bucket is a queue: what was charged first leaks first. Each charge has a place in it, from `start` to `end`, in
-- microseconds and n-ths like a level; the next charge starts where the last one ends, and a charge that finds the bucket empty
-- starts now. What leaks moves no place, so the end of the last charge is `last + q + r/n`, and 40 bytes are enough, until
-- something is given back in front of others. Then the bucket goes on, with doubles:
--   tq, tr    where the last charge ends
--   era       how often all places before were made void: by a reset, another rate, a server's clock that was wrong, or
--             places that went 71 years ahead of the clock. A charge of another era gives nothing back
--   floor     no place in front of this one is used again
--   holes     start (2) and end (2) of each hole, in order: places whose water was given back. Beyond HOLES the first one is
--             forgotten: charges in front of it may then give back less than they could, never more
-- and lives until no charge can name a place that would be used twice: until the clock is at tq, an hour at most; an hour, if
-- era is not 0.
--   What has not leaked of a charge is the water in front of its end without the water in front of its start; and the water in
--   front of a place is the level without what is behind the place, which is `t - place` without the holes there.
--
-- A charge that is to be remembered has a record: of what request it is, open or settled, what is left of it, the last refund,
-- its answer, its places, and the nonces of the calls that were answered by it:
--   print(16) state(1: o or O open, S settled) left(8) id of the last refund(8) its cost(8)
--   now(8), and for each bucket room(1) q(8) r(8) ahead(8)
--   with O and S for each bucket start(16) end(16) era(8) moved(16): what was given back of it, or charged more when it was
--     settled. With o the place ends at now + ahead + q + r/n, and is as long as what was charged to a bucket that had room
--   nonce(8)...
-- It is given back when the last of those calls gives it back: one that was admitted never does.
--
-- KEYS  each bucket and record that a group names, once.
-- ARGV[1]  the groups, one after the other; little-endian, without gaps:
--   op (1 byte): c(harge), p(eek), g(ive back), t(ake), s(ettle), d(elete); how many buckets (1 byte); which key is its record
--     (2 bytes), 0 for none
--   c with a record: ttl in ms (double), print(16), nonce(8), left (double)
--   g with a record: nonce(8)
--   s: mode (1 byte), a sign (+: charge, -: give back; 1 byte), print(16), id of the refund (8), cost, from (doubles). Modes:
--      f  it cost this much, and that is all         r  give back so much of it, once under an id that is not zero
--      t  `cost` are left of it, not `from`          q  say only what it is
--   for each bucket: which key it is (2 bytes), its flag (1 byte): e(nforce), s(hadow), f(orce: charge even where there is no
--      room, up to twice the capacity), o(vershoot: the same, but refuse where the bucket is in debt, over its capacity, already),
--      and six doubles: what to add (q, r), the capacity (q, r), n, p. With g, and s and the sign -, n and p are those of the
--      charge. With g: what was charged, in place of the capacity where that ends, and a seventh: its era. With s two more: what
--      was charged (q, r), where there was room
--   g, t, s, d: then for each bucket the channel of its doorbell, its length (1 byte) before it; it rings when the level falls
-- Reply: for each group, in one string: status(1), and unless it is C, N, S, O, X, I or M: now (double), and for each bucket
--          room (1 byte: 0 there was none, 1 there was, 2 there was none and it was charged all the same, 3 the same, but not
--          with all of it, since there is a bound; 8 more if the bucket was in debt already), and q, r, ahead (doubles): its
--          level, and by how much the clock is behind it. With s, what is left (double) comes before now, room is that of the
--          charge, and each bucket goes on with moved(16) and how long its place is (16). With c, 4 more is room where the end
--          of the charge is not now + ahead + q + r/n: then, after all buckets, end(16) and era(8) of each of those.
--   A admitted, done   R refused, nothing was charged   P an earlier answer; nothing was done   C the record is another request's
--   N there is no such record   with what is left (double): S it was settled at that   O it is open (q)   X no more than that is
--   left of it   I the id is that of a refund of another cost   M neither `from` nor `cost` (t)
-- A retry of a charge with the same print gets P and charges nothing. Without a record it charges again. Giving back with a
--   record, settling and deleting may be repeated without harm.
--
-- Keys are read together at the start and written at the end, each once, however many groups name it. Lua makes functions,
-- tables and captured variables anew in each call, which costs as much as a command: what only charges makes few of them.

-- Bytes of the record of a charge of one bucket.
local RECORD = 82
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
  if ahead <= 0 then
    q, ahead = q + ahead, 0
    if q < 0 then return 0, 0, 0, false end
  elseif q == 0 and r == 0 then
    -- One that is kept for its places alone.
    return 0, 0, 0, false
  elseif ahead > 10000000 then
    -- So far ahead was a server whose clock was wrong: the level stands, the time does not.
    ahead, wrong = 0, true
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

-- What knows buckets of more than 40 bytes.
local function queues()
  local unpack, pack, sub = struct.unpack, struct.pack, string.sub
  -- How far places may go ahead of the clock, and how long they are kept: longer than any record. In microseconds.
  local FAR, HOUR = 2251799813685248, 3660000000

  -- The queue of a bucket at this level: where it ends, its era, its floor and its holes.
  local function queue(bucket, q, r, ahead, n, p, changed)
    local aq, ar = now + ahead + q, r
    if not bucket or #bucket < 72 then return aq, ar, changed and 1 or 0, 0, '' end
    local n0, p0, tq, tr, era, floor = unpack('<dddddd', bucket, 25)
    if changed or n0 ~= n or p0 ~= p or tq - now > FAR then return aq, ar, era + 1, 0, '' end
    if tq < aq or (tq == aq and tr < ar) then return aq, ar, era, 0, '' end
    if q == 0 and r == 0 then return tq, tr, era, 0, '' end
    return tq, tr, era, floor, sub(bucket, 73)
  end

  -- Keeps a bucket: in 40 bytes where they say where its queue ends.
  local function keep(key, q, r, ahead, n, p, tq, tr, era, floor, holes)
    if era == 0 and tq == now + ahead + q and tr == r then
      values[key], lives[key] = stored(now, q, r, ahead, n, p)
      return
    end
    local named = era == 0 and math.min(tq - now, HOUR) or HOUR
    values[key] = pack('<ddddddddd', now + ahead, q, r, n, p, tq, tr, era, floor) .. holes
    lives[key] = math.floor(math.max(q + ahead, named) / 1000) + 2
  end

  -- Adds what there is more in a bucket at the end of its queue: the place.
  local function lengthen(key, q, r, nq, nr, ahead, n, p, changed)
    local tq, tr, era, floor, holes = queue(values[key], q, r, ahead, n, p, changed)
    local eq, er = tq + nq - q, tr + nr - r
    if er >= n then
      eq, er = eq + 1, er - n
    elseif er < 0 then
      eq, er = eq - 1, er + n
    end
    if changed or nq ~= q or nr ~= r then keep(key, nq, nr, ahead, n, p, eq, er, era, floor, holes) end
    return tq, tr, eq, er, era
  end

  -- Charges the group in hand where the levels do not say all places. The places: all for a record, else those that they do not
  -- say.
  local function charge(charges, count, remembers)
    local places, s = '', 3
    for i = 1, 6 * count, 6 do
      local key, nq, nr, n, p, changed = goal[i], goal[i + 1], goal[i + 2], goal[i + 3], goal[i + 4], goal[i + 5]
      local q, r, ahead, charged = said[s + 1], said[s + 2], said[s + 3], charges and said[s] > 0
      if not charged then nq, nr = q, r end
      local sq, sr, eq, er, era = lengthen(key, q, r, nq, nr, ahead, n, p, changed)
      said[s + 1], said[s + 2] = nq, nr
      if remembers then
        places = places .. pack('<ddddddd', sq, sr, eq, er, era, 0, 0)
      elseif charged and (era > 0 or eq ~= now + ahead + nq or er ~= nr) then
        said[s], places = said[s] + 4, places .. pack('<ddd', eq, er, era)
      end
      s = s + 4
    end
    return places
  end

  return {queue = queue, keep = keep, lengthen = lengthen, charge = charge}
end

-- Made when something asks for them.
local longer, made

-- What is asked for more seldom, by its letter.
local function others()
  local unpack, pack, sub, byte = struct.unpack, struct.pack, string.sub, string.byte
  longer = longer or queues()
  local queue, keep, lengthen = longer.queue, longer.keep, longer.lengthen
  -- Bytes of holes that a bucket has.
  local HOLES = 1024

  local function below(aq, ar, bq, br)
    return aq < bq or (aq == bq and ar < br)
  end

  local function plus(aq, ar, bq, br, n)
    if ar + br >= n then return aq + bq + 1, ar + br - n end
    return aq + bq, ar + br
  end

  -- Below zero, the first of the two is.
  local function minus(aq, ar, bq, br, n)
    if ar < br then return aq - bq - 1, ar - br + n end
    return aq - bq, ar - br
  end

  -- The water in front of a place.
  local function water(q, r, tq, tr, holes, eq, er, n)
    if below(tq, tr, eq, er) then return 0, 0 end
    local bq, br = minus(tq, tr, eq, er, n)
    for i = 1, #holes, 32 do
      local aq, ar, hq, hr = unpack('<dddd', holes, i)
      if below(eq, er, hq, hr) then
        if below(aq, ar, eq, er) then aq, ar = eq, er end
        hq, hr = minus(hq, hr, aq, ar, n)
        bq, br = minus(bq, br, hq, hr, n)
      end
    end
    q, r = minus(q, r, bq, br, n)
    if q < 0 then return 0, 0 end
    return q, r
  end

  -- The hole that is left by so much water in front of a place, with those that it meets: where it starts and ends, the holes
  -- in front of it, and those behind.
  local function dig(holes, eq, er, gq, gr, n)
    local lq, lr, hq, hr, before, after = eq, er, eq, er, 0, #holes + 1
    for i = #holes - 31, 1, -32 do
      local aq, ar, bq, br = unpack('<dddd', holes, i)
      if below(eq, er, aq, ar) then
        after = i
      else
        local dq, dr = 0, 0
        if below(bq, br, lq, lr) then dq, dr = minus(lq, lr, bq, br, n) end
        if below(gq, gr, dq, dr) then
          before = i + 31
          break
        end
        if below(hq, hr, bq, br) then hq, hr = bq, br end
        gq, gr = minus(gq, gr, dq, dr, n)
        lq, lr = aq, ar
      end
    end
    lq, lr = minus(lq, lr, gq, gr, n)
    return lq, lr, hq, hr, sub(holes, 1, before), sub(holes, after)
  end

  local function filled(lq, lr, hq, hr, before, after)
    local holes = before .. pack('<dddd', lq, lr, hq, hr) .. after
    return #holes > HOLES and sub(holes, 33) or holes
  end

  -- Gives back up to so much of a charge that has this place: what has not leaked of it. The level, how much it was, and
  -- where what is left of the charge ends.
  local function back(key, n, p, gq, gr, sq, sr, eq, er, era)
    local bucket = values[key]
    local q, r, ahead, changed = level(bucket, now, n, p)
    if changed or (q == 0 and r == 0) or (gq == 0 and gr == 0) then return q, r, ahead, 0, 0, eq, er end
    local tq, tr, own, floor, holes = queue(bucket, q, r, ahead, n, p)
    if own ~= era then return q, r, ahead, 0, 0, eq, er end
    local wq, wr = water(q, r, tq, tr, holes, eq, er, n)
    local vq, vr = water(q, r, tq, tr, holes, sq, sr, n)
    wq, wr = minus(wq, wr, vq, vr, n)
    if below(wq, wr, gq, gr) then gq, gr = wq, wr end
    if gq == 0 and gr == 0 then return q, r, ahead, 0, 0, eq, er end
    local lq, lr, hq, hr, before, after = dig(holes, eq, er, gq, gr, n)
    if hq == tq and hr == tr and lq >= floor then
      tq, tr, holes = lq, lr, before
    else
      holes = filled(lq, lr, hq, hr, before, after)
    end
    q, r = minus(q, r, gq, gr, n)
    keep(key, q, r, ahead, n, p, tq, tr, era, floor, holes)
    -- Where nothing is left of it, the hole may have met one in front of it.
    if below(lq, lr, sq, sr) then lq, lr = sq, sr end
    return q, r, ahead, gq, gr, lq, lr
  end

  -- Takes the next doorbell's channel, and rings for a key, if there is one.
  local function ring(key)
    local channel, after = unpack('Bc0', args, at)
    if key then redis.call('PUBLISH', channel, KEYS[key]) end
    at = after
  end

  -- Where the places of a record begin, and its nonces.
  local function parts(known, count)
    local first = 50 + 25 * count
    return first, byte(known, 17) < 97 and first + 56 * count or first
  end

  -- The place of a bucket's charge by its record, of which so much was charged: start, end, era, moved.
  local function place(known, count, i, cq, cr, n)
    local first, nonces = parts(known, count)
    if nonces > first then return unpack('<ddddddd', known, first + 56 * (i - 1)) end
    local clock = unpack('<d', known, 42)
    local room, q, r, ahead = unpack('<Bddd', known, 25 + 25 * i)
    local sq, sr = clock + ahead + q, r
    if room > 0 then sq, sr = minus(sq, sr, cq, cr, n) end
    return sq, sr, clock + ahead + q, r, 0, 0, 0
  end

  -- Of a charge: all that one with a record has left, or what is named.
  local function give(count, record)
    local done, known = false, nil
    if record > 0 then
      local nonce = sub(args, at, at + 7)
      known = values[record]
      if known and #known < RECORD then known = nil end
      at, done = at + 8, true
      local first = known and select(2, parts(known, count)) or 0
      for i = first, known and #known or -1, 8 do
        if sub(known, i, i + 7) == nonce then
          local rest = sub(known, 1, i - 1) .. sub(known, i + 8)
          done = #rest >= first
          if done then
            values[record], lives[record] = rest, lives[record] or -1
          else
            values[record], lives[record] = false, 0
          end
          break
        end
      end
    end
    local levels, fell = {done and 'P' or 'A', pack('<d', now)}, {}
    for i = 1, count do
      local key, _, gq, gr, eq, er, n, p, era, after = unpack('<HBddddddd', args, at)
      local sq, sr
      if known and not done then
        sq, sr, eq, er, era = place(known, count, i, gq, gr, n)
        gq, gr = minus(eq, er, sq, sr, n)
      else
        sq, sr = minus(eq, er, gq, gr, n)
      end
      if done then gq, gr = 0, 0 end
      local q, r, ahead, dq, dr = back(key, n, p, gq, gr, sq, sr, eq, er, era)
      if dq > 0 or dr > 0 then fell[i] = key end
      levels[i + 2] = pack('<Bddd', 1, q, r, ahead)
      at = after
    end
    for i = 1, count do ring(fell[i]) end
    return table.concat(levels)
  end

  -- Of no charge in particular: the newest of what is there. Charges keep their places.
  local function take(count)
    local levels, fell = {'A', pack('<d', now)}, {}
    for i = 1, count do
      local key, _, gq, gr, _, _, n, p, after = unpack('<HBdddddd', args, at)
      local bucket = values[key]
      local q, r, ahead, changed = level(bucket, now, n, p)
      if below(q, r, gq, gr) then gq, gr = q, r end
      local taken = gq > 0 or gr > 0
      if taken or changed then
        local tq, tr, era, floor, holes = queue(bucket, q, r, ahead, n, p, changed)
        if taken then
          holes, floor = filled(dig(holes, tq, tr, gq, gr, n)), tr > 0 and tq + 1 or tq
          q, r = minus(q, r, gq, gr, n)
          fell[i] = key
        end
        keep(key, q, r, ahead, n, p, tq, tr, era, floor, holes)
      end
      levels[i + 2] = pack('<Bddd', 1, q, r, ahead)
      at = after
    end
    for i = 1, count do ring(fell[i]) end
    return table.concat(levels)
  end

  -- Charges more, up to the bound: the level, and how much it was.
  local function more(key, n, p, iq, ir, cq, cr)
    local q, r, ahead, changed = level(values[key], now, n, p)
    local nq, nr = capped(q, r, iq, ir, cq, cr, n)
    lengthen(key, q, r, nq, nr, ahead, n, p, changed)
    return nq, nr, ahead, minus(nq, nr, q, r, n)
  end

  -- What a settlement makes of a record: nothing but an answer, or whether it was done before, what is left, and the
  -- record up to its answer.
  local function settlement(known, print, mode, id, cost, from)
    if not known or #known < RECORD or sub(known, 1, 16) ~= print then return 'N' end
    local state, left, last, refund = unpack('<c1dc8d', known, 17)
    local function with(letter) return letter .. pack('<d', left) end
    local function head(state, left) return sub(known, 1, 16) .. state .. pack('<d', left) end
    if mode == 'q' then return with(state == 'S' and 'S' or 'O') end
    if mode == 'f' then
      if state ~= 'S' then return nil, false, cost, head('S', cost) .. sub(known, 26, 41) end
      if left ~= cost then return with('S') end
      return nil, true, left
    end
    if mode == 't' then
      if state == 'S' or left <= cost then return nil, true, left end
      if left ~= from then return with('M') end
      return nil, false, cost, head('O', cost) .. sub(known, 26, 41)
    end
    if id ~= NOBODY and id == last then
      if refund ~= cost then return with('I') end
      return nil, true, left
    end
    if cost > left then return with('X') end
    return nil, false, left - cost, head('O', left - cost) .. id .. pack('<d', cost)
  end

  local function settle(count, record)
    local mode, sign, print, id, cost, from, after = unpack('<c1c1c16c8dd', args, at)
    local known = values[record]
    at = after
    local refusal, done, left, head = settlement(known, print, mode, id, cost, from)
    if refusal then
      at = at + 67 * count
      for _ = 1, count do ring() end
      return refusal
    end
    local levels, places, fell = {done and 'P' or 'A', pack('<dd', left, now)}, {}, {}
    for i = 1, count do
      local key, _, iq, ir, cq, cr, n, p, wq, wr, after = unpack('<HBdddddddd', args, at)
      local sq, sr, eq, er, era, mq, mr = place(known, count, i, wq, wr, n)
      local q, r, ahead, dq, dr
      local room = byte(known, 25 + 25 * i)
      if done then
        q, r, ahead = level(values[key], now, n, p)
      elseif sign == '-' then
        q, r, ahead, dq, dr, eq, er = back(key, n, p, iq, ir, sq, sr, eq, er, era)
        mq, mr = plus(mq, mr, dq, dr, n)
        if dq > 0 or dr > 0 then fell[i] = key end
      elseif room > 0 then
        q, r, ahead, mq, mr = more(key, n, p, iq, ir, cq, cr)
      else
        q, r, ahead = level(values[key], now, n, p)
      end
      places[i] = pack('<ddddddd', sq, sr, eq, er, era, mq, mr)
      local lq, lr = minus(eq, er, sq, sr, n)
      levels[i + 2] = pack('<Bddddddd', room, q, r, ahead, mq, mr, lq, lr)
      at = after
    end
    if head then
      local first, nonces = parts(known, count)
      values[record] = head .. sub(known, 42, first - 1) .. table.concat(places) .. sub(known, nonces)
      lives[record] = lives[record] or -1
    end
    for i = 1, count do ring(fell[i]) end
    return table.concat(levels)
  end

  -- What was charged before gives nothing back any more: it must not take from what is charged from now on.
  local function delete(count)
    local levels, first = {'A', pack('<d', now)}, at
    at = at + 51 * count
    for i = 1, count do
      local key, _, _, _, _, _, n, p = unpack('<HBdddddd', args, first + 51 * (i - 1))
      local bucket, held = values[key], 0
      if bucket and #bucket >= 40 then
        local q, r = unpack('<dd', bucket, 9)
        held = (q > 0 or r > 0) and 1 or 0
      end
      local q, r, ahead, changed = level(bucket, now, n, p)
      local tq, _, era = queue(bucket, q, r, ahead, n, p, changed)
      if era > 0 or tq > now or r > 0 then
        keep(key, 0, 0, 0, n, p, now, 0, era + 1, 0, '')
      else
        values[key], lives[key] = false, 0
      end
      levels[i + 2] = pack('<Bddd', held, 0, 0, 0)
      ring(key)
    end
    return table.concat(levels)
  end

  return {[100] = delete, [103] = give, [115] = settle, [116] = take}
end

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
      local holders = #known - 49 - (string.byte(known, 17) < 97 and 81 or 25) * count
      if holders <= HOLDERS then
        values[record] = known .. (holders < HOLDERS and string.sub(kept, 25, 32) or NOBODY)
        lives[record] = lives[record] or -1
      end
      return 'P' .. string.sub(known, 42, 49 + 25 * count)
    end
  end
  local admitted, plain, s, g = true, true, 3, 1
  for _ = 1, count do
    local key, flag, iq, ir, cq, cr, n, p, after = struct.unpack('<HBdddddd', args, at)
    local bucket = values[key]
    local q, r, ahead, wrong = level(bucket, now, n, p)
    if wrong or (bucket and #bucket > 40) then plain = false end
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
        if not whole then plain = false end
      end
    end
    said[s], said[s + 1], said[s + 2], said[s + 3] = room, q, r, ahead
    goal[g], goal[g + 1], goal[g + 2], goal[g + 3], goal[g + 4], goal[g + 5] = key, nq, nr, n, p, wrong
    at, s, g = after, s + 4, g + 6
  end
  local places = ''
  if not plain then
    longer = longer or queues()
    places = longer.charge(commits and admitted, count, record > 0)
  elseif commits and admitted then
    s = 3
    for i = 1, 6 * count, 6 do
      if said[s] > 0 then
        local key, q, r = goal[i], goal[i + 1], goal[i + 2]
        said[s + 1], said[s + 2] = q, r
        values[key], lives[key] = stored(now, q, r, said[s + 3], goal[i + 3], goal[i + 4])
      end
      s = s + 4
    end
  end
  said[1], said[2] = admitted and 'A' or 'R', now
  local answer
  if count == 1 then
    answer = struct.pack('<c1dBddd', said[1], now, said[3], said[4], said[5], said[6])
  else
    answer = struct.pack('<c1d' .. string.rep('Bddd', count), unpack(said, 1, 4 * count + 2))
  end
  if record == 0 then return plain and answer or answer .. places end
  if admitted then
    local print, left, nonce = string.sub(kept, 9, 24), string.sub(kept, 33, 40), string.sub(kept, 25, 32)
    values[record] = print .. (plain and 'o' or 'O') .. left .. NOBODY .. NOBODY .. string.sub(answer, 2) .. places .. nonce
    lives[record] = struct.unpack('<d', kept)
  end
  return answer
end

local out = {}
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
