-- Members of a sorted set of moments whose moment is over.
-- ARGV: key, at most
return redis.call('ZRANGEBYSCORE', ARGV[1], '-inf', int(now_ms()), 'LIMIT', 0, ARGV[2])
