--!df flags=allow-undeclared-keys
-- What the registry's scripts share; one of report, leave and sweep follows. The rules are those of
-- `broker/memory/watchers.rs`. (The first line is Dragonfly's: which gateways there are is not known beforehand.)
--
-- KEYS: subscriptions:active, subscriptions:gateways, subscriptions:leaving, subscriptions:leaving:by
-- ARGV: the prefix of subscriptions:count:{symbol}, the prefix of subscriptions:gateway:{id}, the events' channel, the
--       leave delay (ms); each script's own from the fifth on
--
-- Sums are not kept by adding and subtracting: each is computed from the hashes of the gateways whose lease holds,
-- whenever its symbol is touched. A lost or wrong key therefore never makes a sum drift; touching it heals it.
--
-- The work of one call is bounded by BATCH symbols, about 2 ms; what is left is said, and the caller calls again.

local ACTIVE, GATEWAYS, LEAVING, LEAVERS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local COUNT, GATEWAY, CHANNEL, DELAY = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local BATCH = 250
local unpack = table.unpack or unpack

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local live = redis.call('ZRANGEBYSCORE', GATEWAYS, '(' .. string.format('%.0f', now), '+inf')

-- Events that could not be published from a script; the caller publishes them.
local unsent = {}

local function announce(action, symbol, count, gateway)
  local event = '{"action":"' .. action .. '","symbol":"' .. symbol .. '","count":' .. string.format('%.0f', count)
    .. ',"gateway":' .. cjson.encode(gateway) .. '}'
  local sent = redis.pcall('PUBLISH', CHANNEL, event)
  if type(sent) == 'table' and sent.err then
    unsent[#unsent + 1] = event
  end
end

local function watchers(symbol)
  local sum = 0
  for _, id in ipairs(live) do
    sum = sum + (tonumber(redis.call('HGET', GATEWAY .. id, symbol) or '0') or 0)
  end
  return sum
end

local function stay(symbol)
  redis.call('ZREM', LEAVING, symbol)
  redis.call('HDEL', LEAVERS, symbol)
end

local function gone(symbol, gateway)
  stay(symbol)
  if redis.call('SREM', ACTIVE, symbol) == 1 then
    announce('unsubscribe', symbol, 0, gateway)
  end
end

-- Brings a symbol's keys in line with the gateways' counts. `gateway` is who changed them.
local function settle(symbol, gateway, at_once)
  local key = COUNT .. symbol
  local before = tonumber(redis.call('GET', key) or '0') or 0
  local sum = watchers(symbol)
  if sum > 0 then
    if sum ~= before then
      redis.call('SET', key, string.format('%.0f', sum))
    end
    if before == 0 then
      stay(symbol)
    end
    -- Not announced when only one of the two keys was lost.
    if redis.call('SADD', ACTIVE, symbol) == 1 and before == 0 then
      announce('subscribe', symbol, sum, gateway)
    end
    return
  end
  if before ~= 0 then
    redis.call('DEL', key)
  end
  if at_once then
    gone(symbol, gateway)
  elseif redis.call('SISMEMBER', ACTIVE, symbol) == 1 and not redis.call('ZSCORE', LEAVING, symbol) then
    redis.call('ZADD', LEAVING, string.format('%.0f', now + DELAY), symbol)
    redis.call('HSET', LEAVERS, symbol, gateway)
  end
end

-- Subtracts gateways whose lease has run out and announces the symbols whose delay is over. Returns 1 when more is to
-- be done than one call should.
local function sweep()
  local left = BATCH
  local dead = redis.call('ZRANGEBYSCORE', GATEWAYS, '-inf', string.format('%.0f', now))
  for _, id in ipairs(dead) do
    local symbols = redis.call('HRANDFIELD', GATEWAY .. id, left)
    if #symbols > 0 then
      redis.call('HDEL', GATEWAY .. id, unpack(symbols))
    end
    for _, symbol in ipairs(symbols) do
      settle(symbol, id, true)
    end
    if redis.call('HLEN', GATEWAY .. id) > 0 then
      return 1
    end
    redis.call('ZREM', GATEWAYS, id)
    left = left - #symbols
    if left <= 0 then
      return 1
    end
  end
  local due = redis.call('ZRANGEBYSCORE', LEAVING, '-inf', string.format('%.0f', now), 'LIMIT', 0, left)
  for _, symbol in ipairs(due) do
    if watchers(symbol) > 0 then
      stay(symbol)
    else
      gone(symbol, redis.call('HGET', LEAVERS, symbol) or '')
    end
  end
  return #due == left and 1 or 0
end

