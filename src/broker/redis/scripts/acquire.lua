-- Becomes, or stays, the leader.
--
-- KEYS: publisher:leader, publisher:epoch
-- ARGV: the owner, the lease (ms), the highest epoch the owner has held or seen, where epochs count from (Unix s)
-- Returns {"leading", epoch} or {"standby", holder, remaining ms}.

local owner, lease, floor = ARGV[1], ARGV[2], tonumber(ARGV[3])
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= owner then
  local remaining = redis.call('PTTL', KEYS[1])
  if remaining < 0 then
    -- Somebody set it by hand, without an end. It would lead for ever.
    redis.call('PEXPIRE', KEYS[1], lease)
    remaining = tonumber(lease)
  end
  return { 'standby', holder, remaining }
end

local recorded = tonumber(redis.call('GET', KEYS[2]) or '0') or 0
local epoch = recorded
if not holder or recorded ~= floor then
  local seconds = tonumber(redis.call('TIME')[1]) - tonumber(ARGV[4])
  epoch = math.max(seconds, recorded + 1, floor + 1)
  redis.call('SET', KEYS[2], string.format('%.0f', epoch))
end
if holder then
  -- Passes where SET does not, in a Redis out of memory.
  redis.call('PEXPIRE', KEYS[1], lease)
else
  redis.call('SET', KEYS[1], owner, 'PX', lease)
end
return { 'leading', string.format('%.0f', epoch) }
