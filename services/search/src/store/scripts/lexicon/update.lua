-- search.lexicon: adds the documents of a batch to the frequencies of terms, once.
--
-- KEYS[1] frequencies of the terms (hash)   KEYS[2] log of changes (stream)   KEYS[3] recent batches (zset)
-- ARGV[1] id of this part of the batch   ARGV[2] ms for which the id is known   ARGV[3] maximum of log entries
-- ARGV[4] pairs of a term and the change of its frequency, at most 500, as an array in MessagePack; each term once
-- Reply: {'OK' | 'REPEATED', id of the last log entry} | {'GONE'} without a log: the generation is not open
-- A retry is idempotent while the id is known. An entry of the log holds p the id of the entry before it, and d the absolute
-- frequencies: `term US frequency`, RS between. Entries are trimmed when they are as old as a forgotten id.
local call, format = redis.call, string.format
local last = call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
if #last == 0 then return { 'GONE' } end
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if call('ZSCORE', KEYS[3], ARGV[1]) then return { 'REPEATED', last[1][1] } end

-- Most frequencies are small, and come often.
local texts = {}
local function text(number)
  local known = texts[number]
  if not known then
    known = format('%.0f', number)
    texts[number] = known
  end
  return known
end

local changes, terms = cmsgpack.unpack(ARGV[4]), {}
for i = 1, #changes, 2 do terms[(i + 1) / 2] = changes[i] end
local before = call('HMGET', KEYS[1], unpack(terms))
local entry, kept, ended, n, m = {}, {}, {}, 0, 0
for i, term in ipairs(terms) do
  local frequency = math.max(0, tonumber(before[i] or 0) + changes[2 * i])
  if frequency > 0 then
    kept[m + 1], kept[m + 2], m = term, text(frequency), m + 2
  else
    ended[#ended + 1] = term
  end
  entry[n + 1], entry[n + 2], entry[n + 3], entry[n + 4], n = '\30', term, '\31', text(frequency), n + 4
end
if m > 0 then call('HSET', KEYS[1], unpack(kept)) end
if #ended > 0 then call('HDEL', KEYS[1], unpack(ended)) end
local forgotten = format('%.0f', now - tonumber(ARGV[2]))
call('ZADD', KEYS[3], now, ARGV[1])
call('ZREMRANGEBYSCORE', KEYS[3], '-inf', forgotten)
local id = call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'p', last[1][1], 'd', table.concat(entry, '', 2))
call('XTRIM', KEYS[2], 'MINID', forgotten)
return { 'OK', id }
