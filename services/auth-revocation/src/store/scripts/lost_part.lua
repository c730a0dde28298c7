-- revocation.lost_part: writes a part of a handover, after the store lost revocations of a partition.
--
-- KEYS[1] lost   hash with the parts of this handover, by number
-- ARGV[1] number of the part   ARGV[2] part, bytes   ARGV[3] lifetime of parts without a notice, ms
-- Reply: 'OK'
-- A retry writes the part again. After the notice was written, it leaves the expiry alone.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3], 'NX')
return 'OK'
