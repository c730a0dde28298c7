-- Prepended to every script that changes policies or plans.
--
-- KEYS[1] hash: p:<id> a policy, {"version":<revision of its last change>,"updated":<when, µs>,"policy":{...}};
--               t:<tenant> the plan that it is on, '' for none in spite of the file;
--               v revision, which grows by one with each change; c when the last change was, µs; n number of policies
-- ARGV[1] channel of the hash's bell
--
-- Revision and time together tell a store that lost changes and made others from one that did not.
-- Time is the server's. Numbers are integers below 2^53.

local HASH = KEYS[1]
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000000 + clock[2])

local function revision()
  return tonumber(redis.call('HGET', HASH, 'v')) or 0
end

-- The version of a policy; nil if there is none, 0 if what is there is damaged.
local function version_of(id)
  local text = redis.call('HGET', HASH, 'p:' .. id)
  if not text then return nil end
  return tonumber(string.match(text, '^{"version":(%d+),"updated":%d+,"policy":') or 0)
end

-- The policy `json` as it is kept.
local function document(version, json)
  return '{"version":' .. version .. ',"updated":' .. now .. ',"policy":' .. json .. '}'
end

-- To be called with the last write: counts it, and wakes who follows.
local function commit(version)
  redis.call('HSET', HASH, 'v', version, 'c', now)
  redis.call('PUBLISH', ARGV[1], HASH)
end
