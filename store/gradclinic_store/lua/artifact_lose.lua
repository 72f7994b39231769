-- Notes that the bytes of an artifact are gone or are others: for all tenants it is not there until they are sent again.
-- ARGV: sha256, blob whose bytes they were
go_on_when_full()
if redis.call('HGET', bytes_key(ARGV[1]), 'blob') == ARGV[2] then drop_bytes(ARGV[1]) end
