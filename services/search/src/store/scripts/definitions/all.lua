-- search.all: lists the collections of all tenants, a part at a time.
--
-- KEYS[1] directory (zset)
-- ARGV[1] cursor, 0 at first   ARGV[2] number of collections to look at
-- Reply: {next cursor, 0 at the end; collections}
-- A retry is harmless. A collection that is entered or removed meanwhile may be missing, or come twice.
local reply = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local names = {}
for i = 1, #reply[2], 2 do names[#names + 1] = reply[2][i] end
return { reply[1], names }
