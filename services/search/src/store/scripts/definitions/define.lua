-- search.define: creates, replaces or removes the definition of a collection by compare-and-set.
--
-- KEYS[1] definitions of the tenant (hash): '#sequence', and for each collection '<revision> <JSON>'
-- ARGV[1] collection   ARGV[2] revision to replace, '' for a new collection   ARGV[3] new revision
-- ARGV[4] JSON, '' to remove   ARGV[5] maximum of collections
-- Reply: {'OK'} | {'EXISTS'} | {'MISSING'} | {'CHANGED', revision} | {'FULL'}
-- A retry is idempotent; 'MISSING' after a removal.
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local revision = stored and string.match(stored, '^%d+')
if revision == ARGV[3] then return { 'OK' } end
if ARGV[2] == '' then
  if stored then return { 'EXISTS' } end
  local others = redis.call('HLEN', KEYS[1]) - redis.call('HEXISTS', KEYS[1], '#sequence')
  if others >= tonumber(ARGV[5]) then return { 'FULL' } end
elseif not stored then
  return { 'MISSING' }
elseif revision ~= ARGV[2] then
  return { 'CHANGED', revision }
end
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3] .. ' ' .. ARGV[4])
end
return { 'OK' }
