-- revocation.revoke: revokes up to 64 targets of one partition.
--
-- KEYS[3..] of each item: record, audit of its tenant, filter of the token's bucket (of a key: list of its issuer's keys),
--         filter of the generation; any key of the slot in place of one that the item lacks
-- ARGV[9] leeway, ms   ARGV[10] furthest exp of a token from now, ms   ARGV[11] furthest end of other targets from now, ms
-- ARGV[12..] of each item:
--    1 nonce of the feed entry   2 target   3 token | stated | until | key | cutoff: a token; a token whose exp is not proven;
--    a session; a key; a target with a cutoff
--    4 cutoff, ms, '' for now    5 exp of the token, or end of other targets, ms, '' if not known
--    6 shortest life where 5 is not known, ms   7 slack on top of it, ms, so that a retry has nothing to change
--    8 sids to keep, with ',' between
--    9 bucket of the token's exp, '' if not known or not proven   10 moment until which its filter is needed, ms
--    11 bucket of the generation   12 moment until which its filter is needed, ms   13 item for filters, or id for the list
--    14 reason   15 initiator   16 description
-- Reply: {'AGAIN', now in ms} if the generation is another and nothing was written, else
--        {'OK', now in ms, number of the last entry, and for each item: result, number of its entry, record}
--    CHANGED  the record is new
--    SAME     the revocation held already; the number is that of the last entry
--    EXPIRED  all that it covers has expired, and it was not revoked: nothing was written; without a record
--    FUTURE   the cutoff is later than now: nothing was written
--    FAR      the token would live, or the revocation would hold, longer than allowed: nothing was written
-- A retry changes nothing; but a cutoff of now moves on to the retry's now.

if elsewhen then return { 'AGAIN', now_ms } end

local LEEWAY, FURTHEST_EXP, FURTHEST_END = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local FIRST_KEY, KEYS_EACH, FIRST_ARG, ARGS_EACH = 3, 4, 12, 16

-- Each of the three returns {expiry, cutoff, exp, kept} of the new state; nil if nothing changes; nil and a rejection.

-- A token whose exp is not proven, or that was stated with two different exps, is held in the generation's filter, where
-- every check looks, for as long as any token may live.
local function token(known, exp, proven, life, slack, old)
  if exp and exp + LEEWAY <= now_ms then return nil, not known and 'EXPIRED' or nil end
  if exp and exp > now_ms + FURTHEST_EXP then return nil, 'FAR' end
  if not proven then exp = nil end
  local expires = exp and exp + LEEWAY or now_ms + life + slack
  local text = exp and int(exp) or ''
  if known then
    local enough = exp and expires or now_ms + life
    if known.exp == text and known.expires >= enough then return nil end
    if known.exp == '' and known.expires >= enough then return nil end
    expires = math.max(expires, known.expires)
  end
  if old and old.exp ~= text then text = '' end
  return { expires, '', text, '' }
end

local function till(known, ends, life, slack)
  if ends and ends <= now_ms then return nil, 'EXPIRED' end
  if ends and ends > now_ms + FURTHEST_END then return nil, 'FAR' end
  if known and known.expires >= (ends or now_ms + life) then return nil end
  return { ends or now_ms + life + slack, '', '', '' }
end

-- A kept session stays under the cutoff before, if there was one.
local function cutoff(known, at, ends, life, slack, sids)
  at = at or now_ms
  if known and not known.cutoff then known = nil end
  if at > now_ms then return nil, 'FUTURE' end
  if ends and ends > now_ms + FURTHEST_END then return nil, 'FAR' end
  if known and at <= known.cutoff then return nil end
  local before, kept, seen = {}, {}, {}
  if known then
    for sid, earlier in string.gmatch(known.kept, '([^=,]+)=([^,]*)') do before[sid] = earlier end
  end
  for sid in string.gmatch(sids, '[^,]+') do
    if not seen[sid] then
      seen[sid] = true
      kept[#kept + 1] = sid .. '=' .. (before[sid] or known and int(known.cutoff) or '')
    end
  end
  local expires = math.max(now_ms + life + slack, ends or 0, known and known.expires or 0)
  return { expires, int(at), '', table.concat(kept, ',') }
end

local rows = {}
for index = 0, ITEMS - 1 do
  local k, a = FIRST_KEY + index * KEYS_EACH, FIRST_ARG + index * ARGS_EACH
  local target, kind, life, slack = ARGV[a + 1], ARGV[a + 2], tonumber(ARGV[a + 5]), tonumber(ARGV[a + 6])
  local old, is_token = load(KEYS[k]), kind == 'token' or kind == 'stated'
  local known = old and not old.undone and old.expires > now_ms and old or nil
  local new, rejected
  if is_token then
    new, rejected = token(known, tonumber(ARGV[a + 4]), kind == 'token', life, slack, old)
  elseif kind == 'until' or kind == 'key' then
    new, rejected = till(known, tonumber(ARGV[a + 4]), life, slack)
  else
    new, rejected = cutoff(known, tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]), life, slack, ARGV[a + 7])
  end
  if kind == 'key' and (new or known) then list(KEYS[k + 2], ARGV[a + 12], new and new[1] or known.expires) end
  if new then
    local expires = new[1]
    local state = table.concat({ 'R', int(expires), new[2], new[3], new[4] }, ';')
    local version = tick(old)
    append(ARGV[a], target, state, expires)
    local text = save(KEYS[k], old, version, '', state, is_token and '' or target, expires)
    if is_token then
      if new[3] ~= '' then
        note(KEYS[k + 2], ARGV[a + 8], tonumber(ARGV[a + 9]), ARGV[a + 12])
      else
        note(KEYS[k + 3], ARGV[a + 10], tonumber(ARGV[a + 11]), ARGV[a + 12])
      end
    end
    audit(KEYS[k + 1], version, state, target, ARGV[a + 13], ARGV[a + 14], ARGV[a + 15])
    rows[#rows + 1] = { 'CHANGED', q, text }
  else
    rows[#rows + 1] = { rejected or 'SAME', q, known and known.text or '' }
  end
end
close()
return { 'OK', now_ms, q, rows }
