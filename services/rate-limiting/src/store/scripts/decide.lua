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
--   with O and S for each bucket start(16) end(16) era(8) moved(16): what was given back of it, or, under the rate of that time,
--     charged more when it was settled. With o the place ends at now + ahead + q + r/n, and is as long as what was charged to a
--     bucket that had room
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
--      charge. With g: what was charged, in place of the capacity where that ends, and a seventh: its era. With s three more:
--      what was charged (q, r), where there was room, and the n of its rate, which with the sign + may be another one
--   g, t, s, d: then for each bucket the channel of its doorbell, its length (1 byte) before it; it rings when the level falls
-- Reply: for each group, in one string: status(1), and unless it is C, N, S, O, X, I or M: now (double), and for each bucket
--          room (1 byte: 0 there was none, 1 there was, 2 there was none and it was charged all the same, 3 the same, but not
--          with all of it, since there is a bound; 8 more if the bucket was in debt already), and q, r, ahead (doubles): its
--          level, and by how much the clock is behind it. With s, what is left (double) comes before now, room is that of the
--          charge, and each bucket goes on with moved(16) and how long its place is (16, under the rate of the charge). With c,
--          4 more is room where the end of the charge is not now + ahead + q + r/n: then, after all buckets, end(16) and era(8)
--          of each of those.
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

