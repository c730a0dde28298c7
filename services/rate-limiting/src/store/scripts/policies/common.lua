-- Shared by every script that changes policies or plans.
--
-- KEYS[1] hash: p:<id> a policy, {"version":<revision of its last change>,"updated":<time, µs>,"policy":{...}};
--               t:<tenant> the tenant's plan, '' for none whatever the file says;
--               v revision, which grows by one with each change; c time of the last change, µs; n number of policies
-- ARGV[1] channel of the hash's doorbell
--
-- Revision and time together detect a store that lost changes and made others.
-- Times are the server's. Numbers are integers below 2^53.

local HASH = KEYS[1]
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000000 + clock[2])

local function revision()
  return tonumber(redis.call('HGET', HASH, 'v')) or 0
end

-- Version of a policy; nil without one, 0 for a damaged one.
local function version_of(id)
  local text = redis.call('HGET', HASH, 'p:' .. id)
  if not text then return nil end
  return tonumber(string.match(text, '^{"version":(%d+),"updated":%d+,"policy":') or 0)
end

-- Stored document of the policy `json`.
local function document(version, json)
  return '{"version":' .. version .. ',"updated":' .. now .. ',"policy":' .. json .. '}'
end

-- Commits a change together with its last write, and rings the doorbell.
local function commit(version)
  redis.call('HSET', HASH, 'v', version, 'c', now)
  redis.call('PUBLISH', ARGV[1], HASH)
end
