-- session.revoke_all: ends every session of the user but one.
--
-- ARGV[5] id to keep, '' for none
-- ARGV[6] 1 if it may end nothing but what follows: pairs of id and version, from ARGV[7]
-- Reply: {'OK', how many it ended} | {'VERSION', 0} if another session is live, or one has another version; none is ended then
-- A retry ends what was created in between (not under ARGV[6]), and counts only that.
sweep()
local known = {}
for i = 7, #ARGV, 2 do known[ARGV[i]] = ARGV[i + 1] end
local doomed = {}
for _, row in ipairs(live()) do
  if row[2] ~= ARGV[5] then
    -- One that the store lost has no version, and nothing that could have changed.
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
