-- Gives the lease up, if the owner holds it.
--
-- KEYS: publisher:leader
-- ARGV: the owner

if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
