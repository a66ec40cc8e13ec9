-- Removes a drained gateway. What it had, or had last, is announced at once.
--
-- ARGV, the fifth: the gateway
-- Returns {more, unsent events}.

local id = ARGV[5]
redis.call('ZADD', GATEWAYS, 0, id)
for i, other in ipairs(live) do
  if other == id then
    table.remove(live, i)
    break
  end
end
for _, symbol in ipairs(redis.call('ZRANGE', LEAVING, 0, -1)) do
  if redis.call('HGET', LEAVERS, symbol) == id then
    redis.call('ZADD', LEAVING, 0, symbol)
  end
end
return { sweep(), unsent }
