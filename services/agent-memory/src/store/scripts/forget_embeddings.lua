-- memory.forget_embeddings: removes a user's cache of embeddings.
--
-- KEYS[1] hash of embeddings
-- Reply: number of embeddings removed
-- A retry removes nothing more.
local count = redis.call('HLEN', KEYS[1])
redis.call('UNLINK', KEYS[1])
return count
