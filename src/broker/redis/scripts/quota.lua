-- What was spent of one budget: `Ledger` of `src/quota/window.rs` in Lua, which a test compares.
--
-- KEYS: ratelimit:{name}, a hash:
--   log:{length in ms}  "first:last:units …", oldest first, ms on Redis' clock
--   hold                "set:until": grants nothing until then
--   born                names this record; another name means that what was written was lost
--   reset               when an operator reset it: what was spent before does not count
-- ARGV: now (ms; empty: Redis' clock), the record's name as the caller knows it (empty: never seen), the number of
--       windows, length and limit of each, what to do, and what that needs:
--   take cost        Returns {name, "granted"} or {name, "wait", ms}.
--   record hold n…   hold (ms), then for each window the number of entries, and how long ago (ms) and how much of each.
--                    Returns {name, "recorded"}.
--   hold ms          Returns {name, "held"}.
--   tell             As `record`: what the caller has spent itself, told after these three returned {name, "lost"},
--                    which they do when the caller knows of another record.
--   levels           Returns {name, "levels", now, ms held, the log of each window}; writes nothing.
--   reset            Returns {name, "reset"}.

local KEY = KEYS[1]
local unpack = table.unpack or unpack
local SETTLE_MS = 2000
local RESET_MS = 172800000

local time = redis.call('TIME')
local now = tonumber(ARGV[1]) or (tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local known = ARGV[2]
local windows, keep_longest = {}, 0
local arg = 4
for i = 1, tonumber(ARGV[3]) do
  local length = tonumber(ARGV[arg])
  local guard = math.min(math.max(math.floor(length / 40), 1), 2000)
  windows[i] = {
    length = length,
    limit = tonumber(ARGV[arg + 1]),
    keep = length + guard,
    slot = math.ceil(length / 64),
  }
  keep_longest = math.max(keep_longest, length + guard)
  arg = arg + 2
end
local verb = ARGV[arg]
arg = arg + 1

local function text(number)
  return string.format('%.0f', number)
end

local function field(window)
  return 'log:' .. text(window.length)
end

-- Joins neighbours that fit into one slot.
local function join(log, window)
  local joined = {}
  for _, entry in ipairs(log) do
    local older = joined[#joined]
    if older and entry[2] - math.min(older[1], entry[1]) < window.slot then
      older[1] = math.min(older[1], entry[1])
      older[2] = entry[2]
      older[3] = older[3] + entry[3]
    else
      joined[#joined + 1] = entry
    end
  end
  return joined
end

local function format(log)
  local entries = {}
  for i, entry in ipairs(log) do
    entries[i] = text(entry[1]) .. ':' .. text(entry[2]) .. ':' .. text(entry[3])
  end
  return table.concat(entries, ' ')
end

-- Reads a log without what no longer counts. When the clock jumped back, what lies in the future is brought back to
-- now, for good: it counts for one window from here.
local function read(window)
  local log = {}
  local written = redis.call('HGET', KEY, field(window)) or ''
  for first, last, units in string.gmatch(written, '(%d+):(%d+):(%d+)') do
    log[#log + 1] = { tonumber(first), tonumber(last), tonumber(units) }
  end
  if #log > 0 and log[#log][2] > now then
    for _, entry in ipairs(log) do
      entry[1] = math.min(entry[1], now)
      entry[2] = math.min(entry[2], now)
    end
    log = join(log, window)
    redis.call('HSET', KEY, field(window), format(log))
  end
  local young = {}
  for _, entry in ipairs(log) do
    if entry[2] + window.keep > now then
      young[#young + 1] = entry
    end
  end
  return young
end

local function held()
  local set, till = string.match(redis.call('HGET', KEY, 'hold') or '', '^(%d+):(%d+)$')
  if not set then
    return 0
  end
  set, till = tonumber(set), tonumber(till)
  if set > now then
    -- The clock jumped back: as long from now as it was to be, for good.
    till = now + till - set
    redis.call('HSET', KEY, 'hold', text(now) .. ':' .. text(till))
  end
  return math.max(till - now, 0)
end

local function hold(span)
  if span > 0 then
    redis.call('HSET', KEY, 'hold', text(now) .. ':' .. text(now + math.max(held(), span)))
  end
end

-- The record lives until nothing in it counts, and never shorter than it has to for a hold or a reset before.
local function extend(least)
  local left = redis.call('PTTL', KEY)
  local span = math.max(least, keep_longest, held()) + 1000
  if left < span then
    redis.call('PEXPIRE', KEY, text(span))
  end
end

local function name_record()
  local name = time[1] .. '.' .. time[2]
  redis.call('HSET', KEY, 'born', name)
  extend(0)
  return name
end

-- Windows of one length share a log, so each length is written once.
local function each_length(call)
  local seen = {}
  for i, window in ipairs(windows) do
    if not seen[window.length] then
      seen[window.length] = true
      call(window, i)
    end
  end
end

local born = redis.call('HGET', KEY, 'born')

if verb == 'reset' then
  redis.call('DEL', KEY)
  redis.call('HSET', KEY, 'reset', text(now))
  local name = name_record()
  extend(RESET_MS)
  return { name, 'reset' }
end

if verb == 'levels' then
  local logs = {}
  for i, window in ipairs(windows) do
    logs[i] = format(read(window))
  end
  return { born or known, 'levels', text(now), text(held()), unpack(logs) }
end

if verb ~= 'tell' and known ~= '' and known ~= born then
  return { born or '', 'lost' }
end

local name = born or name_record()

if verb == 'hold' then
  hold(tonumber(ARGV[arg]))
  extend(0)
  return { name, 'held' }
end

if verb == 'record' or verb == 'tell' then
  hold(tonumber(ARGV[arg]))
  arg = arg + 1
  local reset = tonumber(redis.call('HGET', KEY, 'reset') or '0')
  local entries = {}
  for i = 1, #windows do
    entries[i] = {}
    local count = tonumber(ARGV[arg])
    for j = 1, count do
      entries[i][j] = { math.max(now - tonumber(ARGV[arg + 2 * j - 1]), 0), tonumber(ARGV[arg + 2 * j]) }
    end
    arg = arg + 1 + 2 * count
  end
  each_length(function(window, i)
    local log = read(window)
    for _, entry in ipairs(entries[i]) do
      local at, units = entry[1], entry[2]
      if units > 0 and at > reset and at + window.keep > now then
        local place = #log + 1
        while place > 1 and log[place - 1][2] > at do
          place = place - 1
        end
        table.insert(log, place, { at, at, units })
        log = join(log, window)
      end
    end
    redis.call('HSET', KEY, field(window), format(log))
  end)
  if not born and known ~= '' then
    -- The record was lost. Others may have spent as well, and get the time to say so.
    hold(SETTLE_MS)
  end
  extend(0)
  return { name, 'recorded' }
end

-- take
local cost = tonumber(ARGV[arg])
local wait = held()
local logs = {}
for i, window in ipairs(windows) do
  local log = read(window)
  logs[i] = log
  local excess = cost - window.limit
  for _, entry in ipairs(log) do
    excess = excess + entry[3]
  end
  local own = 0
  for _, entry in ipairs(log) do
    if excess <= 0 then
      break
    end
    excess = excess - entry[3]
    own = entry[2] + window.keep - now
  end
  wait = math.max(wait, own)
end
if wait > 0 then
  return { name, 'wait', text(wait) }
end
if cost > 0 then
  each_length(function(window, i)
    local log = logs[i]
    local newest = log[#log]
    if newest and now - newest[1] < window.slot then
      newest[2] = now
      newest[3] = newest[3] + cost
    else
      log[#log + 1] = { now, now, cost }
    end
    redis.call('HSET', KEY, field(window), format(log))
  end)
  extend(0)
end
return { name, 'granted' }
