-- revocation.merge: writes up to 64 states of one partition again, which the store lost, or the feed is about to forget.
--
-- KEYS[3..] of each item: record, filter of the token's bucket or of the generation (of a key: list of its issuer's keys; of
--         any other: any key of the slot)
-- ARGV[9] age of the feed's copy from which a record that is not lost is appended again, ms; '' for never
-- ARGV[10..] of each item:
--    1 nonce of the feed entry   2 target   3 'token', 'key', else ''   4 version   5 state   6 its expiry, ms
--    7 bucket of its filter   8 moment until which the filter is needed, ms   9 item for filters, or id for the list
-- Reply: {'AGAIN', now in ms} if the generation is another and nothing was written, else {'OK', now in ms, number appended}
-- A retry appends nothing: it finds the same version, and a young copy.

if elsewhen then return { 'AGAIN', now_ms } end

local FIRST_KEY, KEYS_EACH, FIRST_ARG, ARGS_EACH = 3, 2, 10, 9
local AGE = tonumber(ARGV[9])
local count = 0
for index = 0, ITEMS - 1 do
  local k, a = FIRST_KEY + index * KEYS_EACH, FIRST_ARG + index * ARGS_EACH
  local target, is_token, version = ARGV[a + 1], ARGV[a + 2] == 'token', tonumber(ARGV[a + 3])
  local named, is_key = is_token and '' or target, ARGV[a + 2] == 'key'
  local old = load(KEYS[k])
  if not old or old.version < version then
    local state, expires = ARGV[a + 4], tonumber(ARGV[a + 5])
    if expires > now_ms then
      tick()
      append(ARGV[a], target, state, expires, int(version))
      -- Later changes must get higher versions than this one.
      top = math.max(top, version)
      save(KEYS[k], old, int(version), int(now_ms), state, named, expires)
      if is_token then note(KEYS[k + 1], ARGV[a + 6], tonumber(ARGV[a + 7]), ARGV[a + 8]) end
      if is_key then list(KEYS[k + 1], ARGV[a + 8], expires) end
      count = count + 1
    end
  elseif AGE and old.expires > now_ms and old.appended + AGE <= now_ms then
    tick()
    append(ARGV[a], target, old.state, old.expires, int(old.version))
    save(KEYS[k], old, int(old.version), int(now_ms), old.state, named, old.expires)
    if is_key then list(KEYS[k + 1], ARGV[a + 8], old.expires) end
    count = count + 1
  end
end
close()
return { 'OK', now_ms, count }
