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
-- KEYS  for each group: its record, if it has one; then its buckets.
-- ARGV[1]  the groups, as bytes: op, number of buckets, 1 if there is a record (else 0), and for each bucket a flag:
--          e(nforce), s(hadow), f(orce: charge even where there is no room, up to twice the capacity).
--          op: c(harge), p(eek), g(ive back), s(ettle), d(elete).
-- ARGV[2..]  for each group
--   c with a record: ttl in ms (double), print(16), nonce(8), left (double)
--   g with a record: nonce(8)
--   s: mode (f: this is what it cost; r: give back so much; 1 byte), a sign (+: charge, -: give back; 1 byte), print(16),
--      id of the refund (8), cost (double)
--   and then for each bucket six doubles: what to add (q, r), the capacity (q, r), n, p; `d` has none.
--   g, s, d: then for each bucket the channel of its doorbell, which rings when the level falls.
-- Reply: for each group, in one string: status(1), and unless it is C, N, S or X: now (double), and for each bucket
--          room (1 byte: 0 there was none, 1 there was, 2 there was none and it was charged all the same, 3 the same, but not
--          with all of it, since there is a bound), and q, r, ahead (doubles): its level, and by how much the clock is behind
--          it. With s, what is left (double) comes before now.
--   A admitted, done   R refused, nothing was charged   P an earlier answer; nothing was done   C the record is another request's
--   N there is no such record   S + left (double): it was settled at that   X + left (double): more than is left of it
-- A retry of a charge with the same print gets P and charges nothing. Without a record it charges again. Giving back with a
--   record, settling and deleting may be repeated without harm.
local rep, spread = string.rep, unpack
local unpack, pack, byte, sub, call = struct.unpack, struct.pack, string.byte, string.sub, redis.call
local floor, ceil = math.floor, math.ceil

-- A bucket this far ahead of the clock is one of a server whose clock was wrong: its level stands, its time does not.
local SKEW = 10000000
-- No level lasts longer than two years.
local LONGEST = 63244800000000
-- Bytes of a bucket, and of the record of a charge of one bucket.
local BUCKET, RECORD = 40, 74
-- So many bytes of nonces; a charge that more calls stand on is not given back.
local HOLDERS, NOBODY = 128, pack('<d', 0)

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local groups, k, a = ARGV[1], 1, 2
local out = {}
-- Of the group in hand, in tables that all groups share: its answer; and of each bucket the level that it would have, its
-- rate, and whether it has to be written in any case.
local said, next_q, next_r, rate_n, rate_p, stale = {}, {}, {}, {}, {}, {}
-- How the answer about so many buckets is packed.
local ANSWERS = {'<c1dBddd', '<c1dBdddBddd', '<c1dBdddBdddBddd'}

-- A string of this length at least, or nothing: what somebody else wrote here must not fail the calls beside this one.
local function get(key, length)
  local found = redis.pcall('GET', key)
  return type(found) == 'string' and #found >= length and found or nil
end

-- The same amount under another rate, never less of it: rounded up by more than doubles can err.
local function rescale(q, r, n0, p0, n, p)
  local d = (q + r / n0) * (n0 / p0) * (p / n) * (1 + 2 ^ -50)
  if d >= LONGEST then return LONGEST, 0 end
  local whole = floor(d)
  local part = ceil((d - whole) * n)
  if part >= n then return whole + 1, 0 end
  return whole, part
end

-- Level now, by how much the clock is behind it, and whether it has to be written even if nothing is charged: a level that
-- was kept under another rate would go on to leak at that.
local function level(key, n, p)
  local bucket = get(key, BUCKET)
  if not bucket then return 0, 0, 0, false end
  local last, q, r, n0, p0 = unpack('<ddddd', bucket)
  local ahead, wrong = last - now, false
  if ahead > SKEW then
    ahead, wrong = 0, true
  elseif ahead <= 0 then
    q, ahead = q + ahead, 0
    if q < 0 then return 0, 0, 0, false end
  end
  if n0 ~= n or p0 ~= p then
    q, r = rescale(q, r, n0, p0, n, p)
    wrong = true
  end
  return q, r, ahead, wrong
end

local function write(key, q, r, ahead, n, p)
  if q == 0 and r == 0 then
    call('DEL', key)
  else
    call('SET', key, pack('<ddddd', now + ahead, q, r, n, p), 'PX', floor((q + ahead) / 1000) + 2)
  end
end

local function sum(q, r, iq, ir, n)
  q, r = q + iq, r + ir
  if r >= n then return q + 1, r - n end
  return q, r
end

local function difference(q, r, iq, ir, n)
  q, r = q - iq, r - ir
  if r < 0 then q, r = q - 1, r + n end
  if q < 0 then return 0, 0 end
  return q, r
end

-- What there is no room for is not charged.
local function capped(q, r, cq, cr, n)
  local mq, mr = sum(cq, cr, cq, cr, n)
  if q > mq or (q == mq and r > mr) then return mq, mr end
  return q, r
end

local function charge(flags, count, record, commits)
  local print, kept
  if record then
    kept = ARGV[a]
    a = a + 1
    print = sub(kept, 9, 24)
    local known = get(record, RECORD)
    if known then
      k, a = k + count, a + count
      if sub(known, 1, 16) ~= print then
        out[#out + 1] = 'C'
        return
      end
      -- From now on this call stands on it as well: another one that was refused elsewhere must not give it back.
      local holders = #known - 41 - 25 * count
      if holders <= HOLDERS then
        call('SET', record, known .. (holders < HOLDERS and sub(kept, 25, 32) or NOBODY), 'KEEPTTL')
      end
      out[#out + 1] = 'P' .. sub(known, 34, 41 + 25 * count)
      return
    end
  end
  local first, admitted = k, true
  for i = 1, count do
    local iq, ir, cq, cr, n, p = unpack('<dddddd', ARGV[a])
    local flag = byte(flags, i)
    local q, r, ahead, wrong = level(KEYS[k], n, p)
    local nq, nr = sum(q, r, iq, ir, n)
    local room = (nq < cq or (nq == cq and nr <= cr)) and 1 or 0
    if room == 0 and flag == 101 then
      admitted = false
    elseif room == 0 and flag == 102 then
      local mq, mr = capped(nq, nr, cq, cr, n)
      room = (mq == nq and mr == nr) and 2 or 3
      nq, nr = mq, mr
      if nq < q or (nq == q and nr < r) then nq, nr = q, r end
    end
    local at = 4 * i
    said[at - 1], said[at], said[at + 1], said[at + 2] = room, q, r, ahead
    next_q[i], next_r[i], rate_n[i], rate_p[i], stale[i] = nq, nr, n, p, wrong
    k, a = k + 1, a + 1
  end
  for i = 1, count do
    local at = 4 * i
    local charged = commits and admitted and said[at - 1] > 0
    if charged then said[at], said[at + 1] = next_q[i], next_r[i] end
    if charged or stale[i] then
      write(KEYS[first + i - 1], said[at], said[at + 1], said[at + 2], rate_n[i], rate_p[i])
    end
  end
  said[1], said[2] = admitted and 'A' or 'R', now
  local answer = pack(ANSWERS[count] or '<c1d' .. rep('Bddd', count), spread(said, 1, 4 * count + 2))
  if record and admitted then
    local ttl = unpack('<d', kept)
    local levels = sub(answer, 2)
    call('SET', record, print .. 'o' .. sub(kept, 33, 40) .. NOBODY .. levels .. sub(kept, 25, 32), 'PX', ttl)
  end
  out[#out + 1] = answer
end

-- Adds to or takes from each bucket that was charged, by the answer if there is one. The doorbell rings where less is there
-- than before.
local function shift(count, sign, done, answer)
  local levels = {pack('<d', now)}
  for i = 1, count do
    local key = KEYS[k]
    local iq, ir, cq, cr, n, p = unpack('<dddddd', ARGV[a])
    local q, r, ahead, wrong = level(key, n, p)
    local charged = not answer or byte(answer, 25 * i - 16) > 0
    if not done and charged and (iq > 0 or ir > 0) then
      if sign == '+' then
        local nq, nr = sum(q, r, iq, ir, n)
        nq, nr = capped(nq, nr, cq, cr, n)
        if nq > q or (nq == q and nr > r) then q, r = nq, nr end
        write(key, q, r, ahead, n, p)
      elseif q > 0 or r > 0 then
        q, r = difference(q, r, iq, ir, n)
        write(key, q, r, ahead, n, p)
        call('PUBLISH', ARGV[a + count], key)
      end
    elseif wrong then
      write(key, q, r, ahead, n, p)
    end
    levels[i + 1] = pack('<Bddd', 1, q, r, ahead)
    k, a = k + 1, a + 1
  end
  a = a + count
  return table.concat(levels)
end

local function give(count, record)
  local done, answer = false, nil
  if record then
    local known = get(record, RECORD)
    local first = 42 + 25 * count
    done = true
    for at = first, known and #known or 0, 8 do
      if sub(known, at, at + 7) == ARGV[a] then
        local others = sub(known, 1, at - 1) .. sub(known, at + 8)
        done = #others >= first
        if done then
          call('SET', record, others, 'KEEPTTL')
        else
          answer = sub(known, 34)
          call('DEL', record)
        end
        break
      end
    end
    a = a + 1
  end
  out[#out + 1] = (done and 'P' or 'A') .. shift(count, '-', done, answer)
end

local function settle(count, record)
  local mode, sign, print, id, cost = unpack('<c1c1c16c8d', ARGV[a])
  local known = get(record, RECORD)
  a = a + 1
  local refusal, done = nil, false
  if not known or sub(known, 1, 16) ~= print then
    refusal = 'N'
  else
    local state, left, last = sub(known, 17, 17), unpack('<d', known, 18), sub(known, 26, 33)
    if mode == 'f' then
      if state == 's' then
        done = left == cost
        if not done then refusal = 'S' .. pack('<d', left) end
      else
        call('SET', record, sub(known, 1, 16) .. 's' .. pack('<d', cost) .. sub(known, 26), 'KEEPTTL')
      end
    elseif id ~= NOBODY and id == last then
      done, cost = true, left
    elseif cost > left then
      refusal = 'X' .. pack('<d', left)
    else
      cost = left - cost
      call('SET', record, sub(known, 1, 17) .. pack('<d', cost) .. id .. sub(known, 34), 'KEEPTTL')
    end
  end
  if refusal then
    k, a = k + count, a + 2 * count
    out[#out + 1] = refusal
    return
  end
  out[#out + 1] = (done and 'P' or 'A') .. pack('<d', cost) .. shift(count, sign, done, sub(known, 34))
end

local function delete(count)
  local levels = {pack('<d', now)}
  for i = 1, count do
    levels[i + 1] = pack('<Bddd', call('DEL', KEYS[k]), 0, 0, 0)
    call('PUBLISH', ARGV[a], KEYS[k])
    k, a = k + 1, a + 1
  end
  out[#out + 1] = 'A' .. table.concat(levels)
end

local at = 1
while at <= #groups do
  local op, count, has_record = byte(groups, at, at + 2)
  local record
  if has_record == 1 then record, k = KEYS[k], k + 1 end
  if op == 99 or op == 112 then
    charge(sub(groups, at + 3, at + 2 + count), count, record, op == 99)
  elseif op == 103 then
    give(count, record)
  elseif op == 115 then
    settle(count, record)
  else
    delete(count)
  end
  at = at + 3 + count
end
return table.concat(out)
