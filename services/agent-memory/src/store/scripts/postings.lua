-- memory.postings: reads the postings of a term.
--
-- KEYS[1] postings, by impact (zset)   ARGV[1] most postings
-- Reply: {number of postings, {place, impact, ...}, the largest impact first}
-- A retry reads again.
return { redis.call('ZCARD', KEYS[1]), redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1, 'REV', 'WITHSCORES') }
