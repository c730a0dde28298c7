-- session.snapshot: where a watcher starts: every live session (or one), and the place in the stream it stands for.
--
-- ARGV[5] id of the session to watch, '' for all of the user
-- Reply: {'OK', last event id, now in ms, earliest expiry in ms or -1, {id, flat hash}, ...}
-- A retry takes another snapshot.
-- Writes a 'mark' where there is no stream, so that there is a place to stand on.
sweep()
local sessions = {}
for _, row in ipairs(live()) do
  if ARGV[5] == '' or row[2] == ARGV[5] then sessions[#sessions + 1] = fetch(row) end
end
if redis.call('EXISTS', EVENTS) == 0 then emit('mark', '', {}) end
conclude()
local last = redis.call('XREVRANGE', EVENTS, '+', '-', 'COUNT', 1)[1][1]
local first = redis.call('ZRANGE', INDEX, 0, 0, 'WITHSCORES')
local reply = { 'OK', last, now_ms, first[2] and tonumber(first[2]) or -1 }
for _, s in ipairs(sessions) do reply[#reply + 1] = s end
return reply
