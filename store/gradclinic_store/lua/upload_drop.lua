-- Gives up an upload, if it is still this writer's, or ('' as writer) if its time is over.
-- ARGV: holding, writer
if ARGV[2] == '' then
  local expire_ms = redis.call('ZSCORE', PARTS, ARGV[1])
  if not expire_ms or tonumber(expire_ms) > now_ms() then return 0 end
elseif redis.call('HGET', part_key(ARGV[1]), 'writer') ~= ARGV[2] then
  return 0
end
drop_part(ARGV[1])
return 1
