-- revocation.lost: names what an instance hands over in the head of the partition, once all parts are kept; unless what is
-- named there comes from one that knew as much.
--
-- KEYS[1] head    hash; field l: `<version up to which the giver knew all>;<until when it is needed, ms>;<parts>;<giver>`
-- KEYS[2] lost    hash of what this instance hands over   KEYS[3] that of what was named before (any key, where none was)
-- ARGV[1] version up to which it knew all   ARGV[2] the new field l   ARGV[3] the field that KEYS[3] comes from, or ''
-- ARGV[4] how long the head is kept, ms   ARGV[5] until when KEYS[2] is needed, ms
-- Reply: {'OK'}, or {'KNOWN'} if another one's stays
-- A retry finds its own, and changes nothing.
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
