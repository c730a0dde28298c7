-- revocation.lost: writes the notice of a handover into the head of the partition, once all parts are written; unless the
-- notice there is of an instance that knew as much.
--
-- KEYS[1] head    hash; field l: `<version up to which the giver knew all>;<moment until which it is needed, ms>;<parts>;<giver>`
-- KEYS[2] lost    hash with the parts of this handover   KEYS[3] that of the handover before (any key, where there was none)
-- ARGV[1] version up to which the giver knew all   ARGV[2] new field l   ARGV[3] field that names KEYS[3], or ''
-- ARGV[4] lifetime of the head, ms   ARGV[5] moment until which KEYS[2] is needed, ms
-- Reply: {'OK'}, or {'KNOWN'} if another instance's handover stays
-- A retry finds its own notice, and changes nothing.
local known = redis.call('HGET', KEYS[1], 'l')
if known == ARGV[2] then return { 'OK' } end
if known and tonumber(string.match(known, '^%d+')) >= tonumber(ARGV[1]) then
  redis.call('UNLINK', KEYS[2])
  return { 'KNOWN' }
end
redis.call('HSET', KEYS[1], 'l', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIREAT', KEYS[2], ARGV[5])
if known and known == ARGV[3] then redis.call('UNLINK', KEYS[3]) end
return { 'OK' }
