-- revocation.lost_part: keeps a part of what an instance hands over, after the store lost revocations of a partition.
--
-- KEYS[1] lost   hash of what this instance hands over: the parts, by number
-- ARGV[1] number of the part   ARGV[2] the part, bytes   ARGV[3] how long the parts are kept unless they are named, ms
-- Reply: 'OK'
-- A retry writes the same again. One that comes after the parts were named leaves their expiry alone.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3], 'NX')
return 'OK'
