-- Writes cached quotes and publishes them as one message, unless somebody else leads by now.
--
-- KEYS: publisher:epoch, then cache:quote:{symbol} of each update
-- ARGV: the caller's epoch, the channel, then for each update its time to live (ms) and its JSON
-- Returns {outcome, text}:
--   fenced    the recorded epoch
--   stored    ""
--   unstored  why Redis refused to write; the message was published
--   unsent    why Redis refused to publish from a script; the caller publishes
--
-- A Redis that is out of memory or read-only refuses SET but passes GET and PUBLISH, so fencing holds and the message
-- goes out. Every write is tried by pcall, since an error raised after the first write would leave the rest undone.

local fence = tonumber(ARGV[1])
local recorded = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
if recorded > fence then
  return { 'fenced', string.format('%.0f', recorded) }
end

local refused
local function write(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    refused = refused or answer.err
  end
end

-- A record behind the caller's epoch was lost. Caught up, it keeps the epochs between shut out.
if recorded < fence then
  write('SET', KEYS[1], ARGV[1])
end

local updates = {}
for i = 2, #KEYS do
  local ttl, json = ARGV[2 * i - 1], ARGV[2 * i]
  updates[i - 1] = json
  if not refused then
    write('SET', KEYS[i], json, 'PX', ttl)
  end
end

if #updates > 0 then
  local message = updates[1]
  if #updates > 1 then
    message = '[' .. table.concat(updates, ',') .. ']'
  end
  local sent = redis.pcall('PUBLISH', ARGV[2], message)
  if type(sent) == 'table' and sent.err then
    return { 'unsent', sent.err }
  end
end

if refused then
  return { 'unstored', refused }
end
return { 'stored', '' }
