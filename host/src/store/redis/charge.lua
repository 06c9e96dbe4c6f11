-- Takes a list of charges, all of them or none. The twin of host/src/counter, step by step; the reasons stand there.
--
-- KEYS  the distinct counters
-- ARGV  the time in microseconds, or '' for the server's own
--       for how many milliseconds a counter is kept longer than it counts
--       for each charge: kind, mode, index of its key, cost, window, max; a bucket's also: part of the cost, capacity, part of the capacity
--
-- Answers the time, whether the list was admitted, and what the counters held before: the caller works out the outcomes.
-- Every number stays below 2^53, up to which doubles are exact.

local now
if ARGV[1] == '' then
  local time = redis.call('TIME') -- Once: on some servers it moves while a script runs.
  now = time[1] * 1000000 + time[2]
else
  now = tonumber(ARGV[1])
end

local function int(number)
  return string.format('%.0f', number) -- tostring() would write 1.7e+15.
end

local function moment(text)
  local number = tonumber(text)
  return number and number < 2 ^ 53 and number
end

local function count(text)
  local number = tonumber(text)
  return number and number <= 1e9 and number
end

-- a * b / c rounded up, for b <= c. Where a * b passes 2^53: by long division, seven bits of `a` at a time.
local function share(a, b, c)
  local quotient, rest = 0, a * b
  if rest < 2 ^ 53 then
    quotient, rest = (rest - rest % c) / c, rest % c
  else
    rest = 0
    for digit = 4, 0, -1 do
      rest = rest * 128 + math.floor(a / 128 ^ digit) % 128 * b
      quotient = quotient * 128 + (rest - rest % c) / c
      rest = rest % c
    end
  end
  return rest > 0 and quotient + 1 or quotient
end

-- Each kind reads and writes its state, pulls one from too far ahead (and says so), takes a cost (and says whether it fits),
-- and tells when its counter is as if unused.
local fixed, sliding, bucket = {width = 6}, {width = 6}, {width = 9}
local kinds = {f = fixed, s = sliding, b = bucket}

function fixed.read(text)
  local start, used = string.match(text or '0:0', '^(%d+):(%d+)$')
  start, used = moment(start), count(used)
  return start and used and {start = start, used = used}
end

function fixed.write(state)
  return int(state.start) .. ':' .. int(state.used)
end

function fixed.pull(state, charge)
  local present = now - now % charge.window
  if state.start < present + 2 * charge.window then return false end
  state.start = present
  return true
end

function fixed.take(state, charge)
  local present, start, used = now - now % charge.window, state.start - state.start % charge.window, state.used
  if start < present then start, used = present, 0 end
  if charge.cost > charge.max - used then return false end
  state.start, state.used = start, used + charge.cost
  return true
end

function fixed.ends(state, charge)
  return state.start + charge.window
end

function sliding.read(text)
  local start, earlier, used = string.match(text or '0:0:0', '^(%d+):(%d+):(%d+)$')
  start, earlier, used = moment(start), count(earlier), count(used)
  return start and earlier and used and {start = start, earlier = earlier, used = used}
end

function sliding.write(state)
  return int(state.start) .. ':' .. int(state.earlier) .. ':' .. int(state.used)
end

sliding.pull = fixed.pull

function sliding.take(state, charge)
  local window = charge.window
  local present, start = now - now % window, state.start - state.start % window
  local earlier, used = state.earlier, state.used
  if start < present then
    earlier, used = start + window == present and used or 0, 0
    start = present
  end
  local covered = window - math.max(0, now - start)
  if charge.cost > charge.max - used - share(earlier, covered, window) then return false end
  state.start, state.earlier, state.used = start, earlier, used + charge.cost
  return true
end

function sliding.ends(state, charge)
  return state.start + 2 * charge.window
end

function bucket.read(text)
  local tat, part = string.match(text or '0', '^(%d+):?(%d*)$')
  if text and string.sub(text, -1) == ':' then return nil end
  tat, part = moment(tat), part == '' and 0 or count(part)
  return tat and part and {tat = tat, part = part}
end

function bucket.write(state)
  return state.part == 0 and int(state.tat) or int(state.tat) .. ':' .. int(state.part)
end

function bucket.pull(state, charge)
  if state.tat < now then return false end
  local part = state.part % charge.max
  local beyond = state.tat - now - charge.window - charge.capacity + (state.part - part) / charge.max
  if beyond < 0 or beyond == 0 and part <= charge.capacity_part then return false end
  state.tat, state.part = now + charge.capacity, charge.capacity_part
  return true
end

function bucket.take(state, charge)
  local tat, part = state.tat, state.part
  if tat < now then tat, part = now, 0 end
  part = part + charge.cost_part
  tat = tat + charge.cost + (part - part % charge.max) / charge.max
  part = part % charge.max
  local beyond = tat - now - charge.capacity
  if beyond > 0 or beyond == 0 and part > charge.capacity_part then return false end
  state.tat, state.part = tat, part
  return true
end

function bucket.ends(state)
  return state.tat + 1
end

local function charge_at(at)
  local function number(offset) return tonumber(ARGV[at + offset]) end
  local charge = {kind = kinds[ARGV[at]], mode = ARGV[at + 1], slot = number(2), cost = number(3), window = number(4), max = number(5)}
  if charge.kind == bucket then
    charge.cost_part, charge.capacity, charge.capacity_part = number(6), number(7), number(8)
  end
  return charge
end

local charges, held, states, writes = {}, {}, {}, {}

local function keep(charge)
  local state = states[charge.slot]
  writes[charge.slot] = {value = charge.kind.write(state), ends = charge.kind.ends(state, charge)}
end

for slot, key in ipairs(KEYS) do
  held[slot] = redis.call('GET', key)
end

local at = 3
while ARGV[at] do
  local charge = charge_at(at)
  at = at + charge.kind.width
  charges[#charges + 1] = charge
  local state = states[charge.slot] or charge.kind.read(held[charge.slot])
  if not state then return redis.error_reply('POISONED not the state of a counter') end
  states[charge.slot] = state
  if charge.kind.pull(state, charge) then keep(charge) end
end

local taken = {}
local admitted = 1
for _, charge in ipairs(charges) do
  local free = charge.cost == 0 and (charge.cost_part or 0) == 0
  if charge.mode ~= 'peek' and not free then
    if charge.kind.take(states[charge.slot], charge) then
      taken[charge.slot] = charge
    elseif charge.mode == 'enforce' then
      admitted = 0
      break
    end
  end
end

if admitted == 1 then
  for _, charge in pairs(taken) do keep(charge) end
end
for slot, write in pairs(writes) do
  redis.call('SET', KEYS[slot], write.value, 'PX', int(math.ceil((write.ends - now) / 1000) + ARGV[2]))
end

return {now, admitted, held}
