-- search.reserve: takes the next number of the tenant's sequence.
--
-- KEYS[1] definitions of the tenant (hash)
-- Reply: {number, time in microseconds}
-- A retry takes another number; a number that nobody uses harms nothing.
local time = redis.call('TIME')
local micros = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
return { redis.call('HINCRBY', KEYS[1], '#sequence', 1), micros }
