-- search.close: removes the lexicon of a generation.
--
-- KEYS[1..] keys of the lexicon
-- Reply: number of removed keys
-- A retry is idempotent.
local removed = 0
for _, key in ipairs(KEYS) do removed = removed + redis.call('UNLINK', key) end
return removed
