-- session.revoke_all: ends every session of the user but one.
--
-- ARGV[5] id to keep, '' for none
-- Reply: {'OK', how many it ended}
-- A retry ends what was created in between, and counts only that.
sweep()
local count = 0
for _, row in ipairs(live()) do
  if row[2] ~= ARGV[5] then
    finish(row[3], 'expired', { 'r', 'revoked' })
    count = count + 1
  end
end
ring()
return { 'OK', count }
