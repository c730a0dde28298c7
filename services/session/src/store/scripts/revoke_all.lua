-- session.revoke_all: ends every session of the user but one.
--
-- ARGV[5] id to keep, '' for none
-- ARGV[6] 1 to end only the sessions listed from ARGV[7]: pairs of id and version
-- Reply: {'OK', number of sessions ended} | {'VERSION', 0} if another session is live or has another version; ends none then
-- A retry ends sessions created in between (not under ARGV[6]), and counts only those.
sweep()
local known = {}
for i = 7, #ARGV, 2 do known[ARGV[i]] = ARGV[i + 1] end
local doomed = {}
for _, row in ipairs(live()) do
  if row[2] ~= ARGV[5] then
    -- A session that the store lost has no version, and cannot have changed.
    local version = ARGV[6] == '1' and redis.call('HGET', PREFIX .. row[2], 'v')
    if version and version ~= known[row[2]] then
      conclude()
      return { 'VERSION', 0 }
    end
    doomed[#doomed + 1] = row[3]
  end
end
for _, m in ipairs(doomed) do finish(m, 'expired', { 'r', 'revoked' }) end
conclude()
return { 'OK', #doomed }
