-- Charge or peek; and the end of the script, which runs the groups.
local function charge(commits, count, record)
  local kept
  if record > 0 then
    kept = string.sub(args, at, at + 39)
    at = at + 40
    local known = values[record]
    if known and #known >= RECORD then
      at = at + 51 * count
      if string.sub(known, 1, 16) ~= string.sub(kept, 9, 24) then return 'C' end
      -- The record answers this call too: another call that was denied elsewhere must not give the charge back.
      local holders = #known - 49 - (string.byte(known, 17) < 97 and 81 or 25) * count
      if holders <= HOLDERS then
        values[record] = known .. (holders < HOLDERS and string.sub(kept, 25, 32) or NO_NONCE)
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
    answer_parts[s], answer_parts[s + 1], answer_parts[s + 2], answer_parts[s + 3] = room, q, r, ahead
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
      if answer_parts[s] > 0 then
        local key, q, r = goal[i], goal[i + 1], goal[i + 2]
        answer_parts[s + 1], answer_parts[s + 2] = q, r
        values[key], lives[key] = stored(now, q, r, answer_parts[s + 3], goal[i + 3], goal[i + 4])
      end
      s = s + 4
    end
  end
  answer_parts[1], answer_parts[2] = admitted and 'A' or 'R', now
  local answer
  if count == 1 then
    answer = struct.pack('<c1dBddd', answer_parts[1], now, answer_parts[3], answer_parts[4], answer_parts[5], answer_parts[6])
  else
    answer = struct.pack('<c1d' .. string.rep('Bddd', count), unpack(answer_parts, 1, 4 * count + 2))
  end
  if record == 0 then return plain and answer or answer .. places end
  if admitted then
    local fingerprint, left, nonce = string.sub(kept, 9, 24), string.sub(kept, 33, 40), string.sub(kept, 25, 32)
    values[record] = fingerprint .. (plain and 'o' or 'O') .. left .. NO_NONCE .. NO_NONCE .. string.sub(answer, 2) .. places .. nonce
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
    handlers = handlers or others()
    out[#out + 1] = handlers[op](count, record)
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
