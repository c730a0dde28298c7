-- revocation.lost_part: keeps a part of what an instance hands over, after the store lost revocations of a partition.
--
-- KEYS[1] lost   hash of what this instance hands over: the parts, by number
-- ARGV[1] number of the part   ARGV[2] the part, bytes   ARGV[3] until when it is needed, ms
-- Reply: 'OK'
-- A retry writes the same again.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIREAT', KEYS[1], ARGV[3])
return 'OK'
