-- search.lexicon: adds the documents of a batch to the frequencies of terms, once.
--
-- KEYS[1] frequencies of the terms (hash)   KEYS[2] log of changes (stream)   KEYS[3] recent batches (zset)
-- ARGV[1] id of this part of the batch   ARGV[2] ms for which the id is known   ARGV[3] maximum of log entries
-- ARGV[4..] pairs of a term and the change of its frequency
-- Reply: {'OK' | 'REPEATED', id of the last log entry} | {'GONE'} without a log: the generation is not open
-- A retry is idempotent while the id is known. An entry of the log holds absolute frequencies: `term US frequency`, RS between.
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
if #last == 0 then return { 'GONE' } end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if redis.call('ZSCORE', KEYS[3], ARGV[1]) then return { 'REPEATED', last[1][1] } end
local changes, ended = {}, {}
for i = 4, #ARGV, 2 do
  local frequency = redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
  if frequency <= 0 then
    ended[#ended + 1] = ARGV[i]
    frequency = 0
  end
  changes[#changes + 1] = ARGV[i] .. '\31' .. frequency
end
if #ended > 0 then redis.call('HDEL', KEYS[1], unpack(ended)) end
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - tonumber(ARGV[2]))
return { 'OK', redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'd', table.concat(changes, '\30')) }
