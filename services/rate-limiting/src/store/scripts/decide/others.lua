-- Handlers of the operations that are rarer than charges, by letter.
local function others()
  local unpack, pack, sub, byte = struct.unpack, struct.pack, string.sub, string.byte
  longer = longer or queues()
  local queue, keep, lengthen = longer.queue, longer.keep, longer.lengthen
  -- Most bytes of holes of a bucket.
  local HOLES = 1024

  local function below(aq, ar, bq, br)
    return aq < bq or (aq == bq and ar < br)
  end

  local function plus(aq, ar, bq, br, n)
    if ar + br >= n then return aq + bq + 1, ar + br - n end
    return aq + bq, ar + br
  end

  -- A negative difference has a negative first value.
  local function minus(aq, ar, bq, br, n)
    if ar < br then return aq - bq - 1, ar - br + n end
    return aq - bq, ar - br
  end

  -- Level in front of a place.
  local function level_before(q, r, tq, tr, holes, eq, er, n)
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

  -- Hole left by taking this level from in front of a place, merged with the holes that it meets: its start and end, the holes in
  -- front of it, and those behind it.
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

  -- Gives back up to this level of the charge at this place, as far as it has not leaked. Returns the level of the bucket, the
  -- level given back, and the end of the rest of the charge.
  local function back(key, n, p, gq, gr, sq, sr, eq, er, era)
    local bucket = values[key]
    local q, r, ahead, changed = level(bucket, now, n, p)
    if changed or (q == 0 and r == 0) or (gq == 0 and gr == 0) then return q, r, ahead, 0, 0, eq, er end
    local tq, tr, own, floor, holes = queue(bucket, q, r, ahead, n, p)
    if own ~= era then return q, r, ahead, 0, 0, eq, er end
    local wq, wr = level_before(q, r, tq, tr, holes, eq, er, n)
    local vq, vr = level_before(q, r, tq, tr, holes, sq, sr, n)
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
    -- A hole of the whole charge may have merged with one in front of it.
    if below(lq, lr, sq, sr) then lq, lr = sq, sr end
    return q, r, ahead, gq, gr, lq, lr
  end

  -- Reads the channel of the next doorbell, and rings it for a key, if there is one.
  local function ring(key)
    local channel, after = unpack('Bc0', args, at)
    if key then redis.call('PUBLISH', channel, KEYS[key]) end
    at = after
  end

  -- Offsets of the places and the nonces of a record.
  local function parts(known, count)
    local first = 50 + 25 * count
    return first, byte(known, 17) < 97 and first + 56 * count or first
  end

  -- Place of the charge of a bucket by its record, for a charged level under a rate with this n: start, end, era, moved.
  local function place(known, count, i, cq, cr, n)
    local first, nonces = parts(known, count)
    if nonces > first then return unpack('<ddddddd', known, first + 56 * (i - 1)) end
    local clock = unpack('<d', known, 42)
    local room, q, r, ahead = unpack('<Bddd', known, 25 + 25 * i)
    local sq, sr = clock + ahead + q, r
    if room > 0 then sq, sr = minus(sq, sr, cq, cr, n) end
    return sq, sr, clock + ahead + q, r, 0, 0, 0
  end

  -- Give back: the rest of a charge with a record, else the level that the caller names.
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

  -- Take: the newest hits, of any charge. Charges keep their places.
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

  -- Charges more, up to the bound; returns the level, and the level added.
  local function more(key, n, p, iq, ir, cq, cr)
    local q, r, ahead, changed = level(values[key], now, n, p)
    local nq, nr = capped(q, r, iq, ir, cq, cr, n)
    lengthen(key, q, r, nq, nr, ahead, n, p, changed)
    return nq, nr, ahead, minus(nq, nr, q, r, n)
  end

  -- Effect of a settlement on a record: an answer alone, or whether it was done before, the cost left, and the record up to its
  -- answer.
  local function settlement(known, fingerprint, mode, id, cost, from)
    if not known or #known < RECORD or sub(known, 1, 16) ~= fingerprint then return 'N' end
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
    if id ~= NO_NONCE and id == last then
      if refund ~= cost then return with('I') end
      return nil, true, left
    end
    if cost > left then return with('X') end
    return nil, false, left - cost, head('O', left - cost) .. id .. pack('<d', cost)
  end

  local function settle(count, record)
    local mode, sign, fingerprint, id, cost, from, after = unpack('<c1c1c16c8dd', args, at)
    local known = values[record]
    at = after
    local rejection, done, left, head = settlement(known, fingerprint, mode, id, cost, from)
    if rejection then
      at = at + 75 * count
      for _ = 1, count do ring() end
      return rejection
    end
    local levels, places, fell = {done and 'P' or 'A', pack('<dd', left, now)}, {}, {}
    for i = 1, count do
      local key, _, iq, ir, cq, cr, n, p, wq, wr, wn, after = unpack('<HBddddddddd', args, at)
      local sq, sr, eq, er, era, mq, mr = place(known, count, i, wq, wr, wn)
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
      local lq, lr = minus(eq, er, sq, sr, wn)
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

  -- Delete: earlier charges give nothing back any more, since that would take from later ones.
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

