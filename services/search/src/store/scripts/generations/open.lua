-- search.open: begins the lexicon of a generation. An update of a lexicon without its log changes nothing.
--
-- KEYS[1] log of the lexicon (stream)
-- Reply: 1 if it was begun, 0 if it exists
-- A retry is idempotent.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('XADD', KEYS[1], '*', 'init', '1')
return 1
