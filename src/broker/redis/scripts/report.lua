-- Renews a gateway's lease and sets its own counts.
--
-- ARGV from the fifth on: the gateway, its lease (ms), how many active symbols to look after, then symbols and counts
-- Returns {symbols held for the gateway, more, unsent events, lost}. `lost` is 1 when a key is gone that only a report
-- of everything brings back at once. When the gateway's own lease has run out and there is more to subtract, nothing
-- was set and the number is -1: sweep, then report again.

local id, hash = ARGV[5], GATEWAY .. ARGV[5]
local more = sweep()
local lease = redis.call('ZSCORE', GATEWAYS, id)
if lease and tonumber(lease) <= now then
  return { -1, more, unsent, 0 }
end
if not lease then
  -- What is left under this name has been counted by nobody. The number returned makes its owner report everything.
  redis.call('UNLINK', hash)
  live[#live + 1] = id
end
redis.call('ZADD', GATEWAYS, string.format('%.0f', now + tonumber(ARGV[6])), id)
local lost = redis.call('EXISTS', ACTIVE) == 0 and redis.call('EXISTS', hash) == 1

for i = 8, #ARGV, 2 do
  local symbol, count = ARGV[i], tonumber(ARGV[i + 1])
  if count > 0 then
    redis.call('HSET', hash, symbol, ARGV[i + 1])
  else
    redis.call('HDEL', hash, symbol)
  end
  settle(symbol, id, false)
end

-- Symbols that no gateway reports any more, and that nobody is to subtract since keys were lost.
local some = tonumber(ARGV[7])
if some > 0 then
  for _, symbol in ipairs(redis.call('SRANDMEMBER', ACTIVE, some)) do
    settle(symbol, '', false)
  end
end

return { redis.call('HLEN', hash), more, unsent, lost and 1 or 0 }
