-- session.snapshot: live sessions (all or one) for the start of a watch, and the position in the stream they stand for.
--
-- ARGV[5] id of the session to watch, '' for all of the user   ARGV[6] last event that the watcher received, '' for none
-- Reply: {'OK', last event id, now in ms, earliest expiry in ms or -1, watched id, {id, flat hash}, ...}
-- The watched id is ARGV[5]. For a rotated session: its id at the event ARGV[6], or its current one if that event is missing.
-- A retry takes another snapshot.
-- Writes a 'mark' where no stream exists, so that there is a position.
local function renamed(id, position)
  local held = #redis.call('XRANGE', EVENTS, position, position) > 0
  for _, entry in ipairs(redis.call('XRANGE', EVENTS, '-', held and position or '+')) do
    local kind, from, to = entry[2][2], entry[2][4], entry[2][6] -- t, s, n
    if kind == 'rotated' and from == id then id = to end
  end
  return id
end

sweep()
local watched = ARGV[5]
if watched ~= '' and ARGV[6] ~= '' and redis.call('EXISTS', PREFIX .. watched) == 0 then
  watched = renamed(watched, ARGV[6])
end
local sessions = {}
for _, row in ipairs(live()) do
  if watched == '' or row[2] == watched then sessions[#sessions + 1] = fetch(row) end
end
if redis.call('EXISTS', EVENTS) == 0 then emit('mark', '', {}) end
conclude()
local last = redis.call('XREVRANGE', EVENTS, '+', '-', 'COUNT', 1)[1][1]
local first = redis.call('ZRANGE', INDEX, 0, 0, 'WITHSCORES')
local reply = { 'OK', last, now_ms, first[2] and tonumber(first[2]) or -1, watched }
for _, s in ipairs(sessions) do reply[#reply + 1] = s end
return reply
