-- session.list: a page of live sessions, newest first.
--
-- ARGV[5] page size   ARGV[6] creation (µs) and ARGV[7] id of the last session of the page before, '' for the first page
-- Reply: {'OK', 1 if more follow, {id, flat hash}, ...}
-- A retry lists anew.
sweep()
local limit, created, id = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local reply = { 'OK', 0 }
for _, row in ipairs(live()) do
  local later = created == nil or row[1] < created or (row[1] == created and row[2] < id)
  if later then
    if #reply - 2 == limit then
      reply[2] = 1
      break
    end
    reply[#reply + 1] = fetch(row)
  end
end
conclude()
return reply
