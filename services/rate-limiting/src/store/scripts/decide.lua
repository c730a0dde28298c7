-- ratelimit.decide: decides on buckets. One call takes any number of independent groups, in order; each group is all or nothing.
--
-- A bucket is a string of five little-endian doubles, which hold whole numbers below 2^53 exactly:
--   last   time of the last write, in microseconds of the server's TIME
--   q, r   time for its level to leak away from then on: q + r/n microseconds
--   n, p   rate at the last write: n hits leak away in p microseconds (lowest terms)
-- An empty bucket has no key: its TTL is the time to empty. The caller makes all products, exactly; the script adds and compares,
-- except when a rate changes.
--
-- A bucket is a queue: hits that were charged first leak first. Each charge has a place in it, from `start` to `end`, in
-- microseconds and n-ths like a level; the next charge starts where the last one ends, and a charge of an empty bucket starts
-- now. Leaking moves no place, so the end of the last charge is `last + q + r/n`, and 40 bytes are enough until something is
-- given back in front of other charges. Then the bucket goes on, with doubles:
--   tq, tr    end of the last charge
--   era       count of the times when all earlier places became void: by a reset, another rate, a wrong server clock, or
--             places that went 71 years ahead of the clock. A charge of another era gives nothing back
--   floor     no place in front of this one is used again
--   holes     start (2) and end (2) of each hole, in order: places that were given back. Beyond HOLES the first one is
--             forgotten: charges in front of it may then give back less than they could, never more
-- and lives until no charge can name a place that would be used twice: until the clock is at tq, an hour at most; an hour, if
-- era is not 0.
--   The part of a charge that has not leaked is the level in front of its end minus the level in front of its start; the level in
--   front of a place is the level of the bucket minus everything behind the place, which is `t - place` without the holes there.
--
-- A charge with a request id has a record: the fingerprint of its request, open or settled, the cost left, the last refund, its
-- answer, its places, and the nonces of the calls that it answered:
--   fingerprint(16) state(1: o or O open, S settled) left(8) id of the last refund(8) its cost(8)
--   now(8), and for each bucket room(1) q(8) r(8) ahead(8)
--   with O and S for each bucket start(16) end(16) era(8) moved(16): the level given back or, under the rate of that time,
--     charged more by a settlement. With o the place ends at now + ahead + q + r/n, and is as long as the charge of a bucket that
--     had room
--   nonce(8)...
-- The last of those calls to give the charge back gives it back; a call that was admitted never does.
--
-- KEYS  each bucket and record that a group names, once.
-- ARGV[1]  the groups, one after the other; little-endian, without gaps:
--   op (1 byte): c(harge), p(eek), g(ive back), t(ake), s(ettle), d(elete); number of buckets (1 byte); index of the key of its
--     record (2 bytes), 0 for none
--   c with a record: ttl in ms (double), fingerprint(16), nonce(8), left (double)
--   g with a record: nonce(8)
--   s: mode (1 byte), a sign (+: charge, -: give back; 1 byte), fingerprint(16), id of the refund (8), cost, from (doubles). Modes:
--      f  final cost                                r  refund of this cost, once under an id that is not zero
--      t  `cost` are left, not `from`               q  query of the state alone
--   for each bucket: index of its key (2 bytes), its flag (1 byte): e(nforce), s(hadow), f(orce: charge without room too, up to
--      twice the capacity), o(vershoot: like force, but deny where the bucket is in debt, over its capacity, already), and six
--      doubles: level to add (q, r), the capacity (q, r), n, p. With g, and s and the sign -, n and p are those of the charge.
--      With g: the end of the charge in place of the capacity, and a seventh: its era. With s three more: the level that was
--      charged (q, r), where there was room, and the n of its rate, which with the sign + may be another one
--   g, t, s, d: then for each bucket the channel of its doorbell, its length (1 byte) before it; it rings when the level falls
-- Reply: for each group, in one string: status(1), and unless it is C, N, S, O, X, I or M: now (double), and for each bucket
--          room (1 byte: 0 none, 1 enough, 2 none but charged, 3 none but charged up to the bound; 8 more if the bucket was in
--          debt already), and q, r, ahead (doubles): its level, and the lag of the clock behind it. With s, the cost left
--          (double) comes before now, room is that of the charge, and each bucket goes on with moved(16) and the length of its
--          place (16, under the rate of the charge). With c, 4 more is room where the end of the charge is not
--          now + ahead + q + r/n: then, after all buckets, end(16) and era(8) of each of those.
--   A admitted, done   R denied, nothing was charged   P an earlier answer; nothing was done   C the record of another request
--   N no such record   with the cost left (double): S settled at that cost   O open (q)   X less is left than the refund
--   I another refund has this id   M neither `from` nor `cost` is left (t)
-- A retry of a charge with the same fingerprint gets P and charges nothing. Without a record it charges again. Giving back with a
--   record, settling and deleting are idempotent.
--
-- Keys are read together at the start and written at the end, each once, however many groups name it. Lua makes functions,
-- tables and captured variables anew in each call, which costs as much as a command: charges alone make few of them.

-- Length of the record of a charge of one bucket, in bytes.
local RECORD = 82
-- Most bytes of nonces; a charge that answered more calls is not given back.
local HOLDERS, NO_NONCE = 128, '\0\0\0\0\0\0\0\0'

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local args, at = ARGV[1], 1
-- Values of the keys, and the new lifetime of changed ones in milliseconds: 0 deletes, -1 keeps the old one. A value that is no
-- string counts as none: foreign data must not fail the other groups of this call.
local values, lives = redis.call('MGET', unpack(KEYS)), {false, false, false, false}

-- Level of a bucket now, the lag of the clock behind it, and whether it must be written even if nothing is charged: a level
-- stored under another rate would go on to leak at that rate.
local function level(bucket, now, n, p)
  if not bucket or #bucket < 40 then return 0, 0, 0, false end
  local last, q, r, n0, p0 = struct.unpack('<ddddd', bucket)
  local ahead, wrong = last - now, false
  if ahead <= 0 then
    q, ahead = q + ahead, 0
    if q < 0 then return 0, 0, 0, false end
  elseif q == 0 and r == 0 then
    -- This bucket is kept for its places alone.
    return 0, 0, 0, false
  elseif ahead > 10000000 then
    -- A server with a wrong clock wrote this: the level stands, the time does not.
    ahead, wrong = 0, true
  end
  if n0 == n and p0 == p then return q, r, ahead, wrong end
  -- A changed policy keeps the hits under its new rate: rounded up by more than doubles can err. No level lasts longer than two
  -- years.
  local d = (q + r / n0) * (n0 / p0) * (p / n) * (1 + 2 ^ -50)
  if d >= 63244800000000 then return 63244800000000, 0, ahead, true end
  q = math.floor(d)
  r = math.ceil((d - q) * n)
  if r >= n then return q + 1, 0, ahead, true end
  return q, r, ahead, true
end

-- Value of a bucket, and its lifetime.
local function stored(now, q, r, ahead, n, p)
  if q == 0 and r == 0 then return false, 0 end
  return struct.pack('<ddddd', now + ahead, q, r, n, p), math.floor((q + ahead) / 1000) + 2
end

-- Adds a charge up to twice the capacity. The third value is whether all of it was added.
local function capped(q, r, iq, ir, cq, cr, n)
  local nq, nr = q + iq, r + ir
  if nr >= n then nq, nr = nq + 1, nr - n end
  local mq, mr = 2 * cq, 2 * cr
  if mr >= n then mq, mr = mq + 1, mr - n end
  if nq < mq or (nq == mq and nr <= mr) then return nq, nr, true end
  if mq < q or (mq == q and mr < r) then return q, r, false end
  return mq, mr, false
end

-- Current group: its answer; and for each bucket its key, its level after the charge, its rate, and whether it must be written in
-- any case. Both tables have room for three buckets: growing one costs more than making it.
local answer_parts = {'', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
local goal = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

-- Functions for buckets of more than 40 bytes.
local function queues()
  local unpack, pack, sub = struct.unpack, struct.pack, string.sub
  -- Most microseconds that places may be ahead of the clock, and that they are kept: longer than any record.
  local FAR, HOUR = 2251799813685248, 3660000000

  -- Queue of a bucket at this level: its end, era, floor and holes.
  local function queue(bucket, q, r, ahead, n, p, changed)
    local aq, ar = now + ahead + q, r
    if not bucket or #bucket < 72 then return aq, ar, changed and 1 or 0, 0, '' end
    local n0, p0, tq, tr, era, floor = unpack('<dddddd', bucket, 25)
    if changed or n0 ~= n or p0 ~= p or tq - now > FAR then return aq, ar, era + 1, 0, '' end
    if tq < aq or (tq == aq and tr < ar) then return aq, ar, era, 0, '' end
    if q == 0 and r == 0 then return tq, tr, era, 0, '' end
    return tq, tr, era, floor, sub(bucket, 73)
  end

  -- Stores a bucket, in 40 bytes where they imply the end of its queue.
  local function keep(key, q, r, ahead, n, p, tq, tr, era, floor, holes)
    if era == 0 and tq == now + ahead + q and tr == r then
      values[key], lives[key] = stored(now, q, r, ahead, n, p)
      return
    end
    local named = era == 0 and math.min(tq - now, HOUR) or HOUR
    values[key] = pack('<ddddddddd', now + ahead, q, r, n, p, tq, tr, era, floor) .. holes
    lives[key] = math.floor(math.max(q + ahead, named) / 1000) + 2
  end

  -- Appends a charge to the queue of a bucket; returns its place.
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

  -- Charges the current group where the levels do not imply all places. Returns the places: all for a record, else those that are
  -- not implied.
  local function charge(charges, count, remembers)
    local places, s = '', 3
    for i = 1, 6 * count, 6 do
      local key, nq, nr, n, p, changed = goal[i], goal[i + 1], goal[i + 2], goal[i + 3], goal[i + 4], goal[i + 5]
      local q, r, ahead, charged = answer_parts[s + 1], answer_parts[s + 2], answer_parts[s + 3], charges and answer_parts[s] > 0
      if not charged then nq, nr = q, r end
      local sq, sr, eq, er, era = lengthen(key, q, r, nq, nr, ahead, n, p, changed)
      answer_parts[s + 1], answer_parts[s + 2] = nq, nr
      if remembers then
        places = places .. pack('<ddddddd', sq, sr, eq, er, era, 0, 0)
      elseif charged and (era > 0 or eq ~= now + ahead + nq or er ~= nr) then
        answer_parts[s], places = answer_parts[s] + 4, places .. pack('<ddd', eq, er, era)
      end
      s = s + 4
    end
    return places
  end

  return {queue = queue, keep = keep, lengthen = lengthen, charge = charge}
end

-- Built on first use.
local longer, handlers

