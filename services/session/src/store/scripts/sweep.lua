-- session.sweep: ends expired sessions, for a watcher's timer.
--
-- Reply: {'OK', now in ms, earliest expiry in ms or -1}
-- A retry finds nothing more to end.
sweep()
conclude()
local first = redis.call('ZRANGE', INDEX, 0, 0, 'WITHSCORES')
return { 'OK', now_ms, first[2] and tonumber(first[2]) or -1 }
