-- revocation.undo: undoes a revocation. A tombstone stays for as long as the revocation would have held.
--
-- KEYS[3] record   KEYS[4] audit of its tenant
-- ARGV[9] nonce of the feed entry   ARGV[10] target of a token; the record has any other   ARGV[11] version that must be the
--         current one, '' for any   ARGV[12] reason   ARGV[13] initiator   ARGV[14] description
-- Reply: {'MISSING'} | {'VERSION', current} | {'CHANGED' | 'SAME', now in ms, number of its (SAME: the last) entry, record}
-- A retry replies 'SAME', whatever version it names.

local old = load(KEYS[3])
if not old or old.expires <= now_ms then return { 'MISSING' } end
if old.undone then
  close()
  return { 'SAME', now_ms, q, old.text }
end
if ARGV[11] ~= '' and ARGV[11] ~= int(old.version) then return { 'VERSION', int(old.version) } end
local target = old.target ~= '' and old.target or ARGV[10]
local state = 'U' .. string.sub(old.state, 2)
local version = tick(old)
append(ARGV[9], target, state, old.expires)
local text = save(KEYS[3], old, version, '', state, old.target, old.expires)
audit(KEYS[4], version, state, target, ARGV[12], ARGV[13], ARGV[14])
close()
return { 'CHANGED', now_ms, q, text }
