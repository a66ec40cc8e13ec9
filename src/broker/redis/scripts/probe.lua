-- A probe of delivery that proves writing too.
--
-- KEYS: a key of this process's own
-- ARGV: the probe's channel, the nonce, the key's time to live (ms)
-- Returns why Redis refused to write, or "".

local answer = redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('PUBLISH', ARGV[1], ARGV[2])
if type(answer) == 'table' and answer.err then
  return answer.err
end
return ''
