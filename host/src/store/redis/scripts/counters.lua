-- Counters as both scripts read, change and write them. The twin of host/src/counter, step by step; the reasons stand there.
--
-- KEYS     the counters, and the keys under which something is remembered
-- ARGV[1]  a MessagePack array of whole numbers: the time in microseconds, or 0 for the server's own; for how many milliseconds a counter is
--          kept longer than it counts; how many rules; the rules; and what each script says itself. A rule: kind, window, max, and of a
--          bucket the capacity, the part of the capacity, for how many milliseconds more it is kept, and for how many microseconds a charge
--          is held; of a calendar period instead of the window its beginning, after max its end and the end of the next; last what
--          becomes of a counter that was counted by other numbers, and the rule's own: how much, and how long a bucket takes to fill.
-- ARGV[2…] the holders of slots, 8 bytes each
--
-- A counter is held as little-endian integers: 6 bytes until when the key lives, in milliseconds; 7 bytes a moment in microseconds; of 4
-- bytes each the counts. A bucket from which something is reserved goes on: the moment and the part without the reserve; of each
-- generation two moments, 7 bytes the microseconds and 4 bytes the part. Each may end in the numbers it was counted by, 4 and 7 bytes. Of slots: the life, and of each holder the end of the lease, 8
-- bytes its name, 2 bytes how many. Numbers stay below 2^53, up to which doubles are exact. A key's life is written only
-- when it grows, since that costs as much as all the rest.

local call, pcall, floor, ceil, max, min = redis.call, redis.pcall, math.floor, math.ceil, math.max, math.min
local pack, decode = struct.pack, struct.unpack
local FIXED, SLIDING, BUCKET, CALENDAR, SLOTS = 1, 2, 3, 4, 5
local FORMS = {'<I6I7I4', '<I6I7I4I4', '<I6I7I4', '<I6I7I4'}
local LENGTHS = {17, 21, 17, 17}
local WORDS_OF_RULE = 10
local KEEP, PROPORTIONAL, ADDITIVE = 0, 1, 2 -- And 3 begins anew.

local words = cmsgpack.unpack(ARGV[1])
local now, grace, rules = words[1], words[2], words[3]
if now == 0 then
  local time = call('TIME') -- Once: on some servers it moves while a script runs.
  now = time[1] * 1000000 + time[2]
end

-- Of each key: what it held; once read, the moment, the first and the second count; until when it lives; and by which rule it changed.
-- Of slots the moment is when the last lease ends, and the first count is the list of them. Of a bucket the second count is 0 or what is
-- reserved, a table that nobody changes: the moment and the part without it, then the generations. Of some also the numbers.
local held, moments, firsts, seconds, lives, ends, changed, numbers = {}, {}, {}, {}, {}, {}, {}, {}
if #KEYS > 0 then held = call('MGET', unpack(KEYS)) end
for slot = 1, #KEYS do
  -- Another type reads as absent, and is unreadable for its own lists only.
  if not held[slot] and type(pcall('GET', KEYS[slot])) == 'table' then held[slot] = '' end
end

-- Whether the counter, which holds this, can be read by this kind.
local function read(slot, kind, value)
  if value == false then
    lives[slot], moments[slot], firsts[slot], seconds[slot] = 0, 0, kind == SLOTS and {} or 0, 0
    return true
  end
  if kind == SLOTS then
    if #value < 6 or (#value - 6) % 17 > 0 then return false end
    local list, last = {}, 0
    for at = 7, #value, 17 do
      local ending, holder, count = decode('<I7c8I2', value, at)
      if ending > now then
        list[#list + 1] = {ending, holder, count}
        last = ending
      end
    end
    lives[slot], moments[slot], firsts[slot], seconds[slot] = decode('<I6', value), last, list, 0
    return true
  end
  local life, moment, first, second
  local plain = #value - 11
  if plain == LENGTHS[kind] or kind == BUCKET and (plain == 53 or plain == 78) then
    numbers[slot] = {decode('<I4I7', value, plain + 1)}
    value = string.sub(value, 1, plain)
  end
  if #value == LENGTHS[kind] then
    life, moment, first, second = decode(FORMS[kind], value)
    if kind == BUCKET then second = 0 end
  elseif kind == BUCKET and (#value == 53 or #value == 78) then
    life, moment, first = decode(FORMS[kind], value)
    second = {decode('<I7I4', value, 18)}
    second[3] = {decode('<I7I7I7I4', value, 29)}
    second[4] = #value == 78 and {decode('<I7I7I7I4', value, 54)} or nil
  else
    return false
  end
  if moment >= 9007199254740992 or first > 1e9 or kind == SLIDING and second > 1e9 then return false end
  lives[slot], moments[slot], firsts[slot], seconds[slot] = life, moment, first, second
  return true
end

local function written(slot, kind, life)
  if kind == SLOTS then
    local parts = {pack('<I6', life)}
    for index, own in ipairs(firsts[slot]) do parts[index + 1] = pack('<I7c8I2', own[1], own[2], own[3]) end
    return table.concat(parts)
  end
  local by, reserve = numbers[slot], kind == BUCKET and seconds[slot] or 0
  local value = pack(FORMS[kind], life, moments[slot], firsts[slot], seconds[slot])
  if reserve ~= 0 then
    value = value .. pack('<I7I4', reserve[1], reserve[2])
    for index = 3, #reserve do
      local one = reserve[index]
      value = value .. pack('<I7I7I7I4', one[1], one[2], one[3], one[4])
    end
  end
  return by and value .. pack('<I4I7', by[1], by[2]) or value
end

-- Microseconds and parts, with less than one microsecond of parts.
local function normal(us, part, cap)
  if part < cap then return us, part end
  return us + (part - part % cap) / cap, part % cap
end

local function lesser(us, part, other_us, other_part)
  if us < other_us or us == other_us and part < other_part then return us, part end
  return other_us, other_part
end

-- What is reserved of a bucket still, as a table of its own; nil if that is nothing, or if the bucket is full. Parts that were counted by
-- another max are less than a microsecond still.
local function open_reserve(slot, cap)
  local reserve, tat, part = seconds[slot], moments[slot], min(firsts[slot], cap - 1)
  if reserve == 0 or tat < now or tat == now and part == 0 then return nil end
  local us, us_part, open = reserve[1], min(reserve[2], cap - 1), {}
  if us < now then us, us_part = now, 0 end
  for index = 3, #reserve do
    local one = reserve[index]
    local one_part = min(one[4], cap - 1)
    if one[2] >= now then open[#open + 1] = {one[1], one[2], one[3], one_part} else us, us_part = us + one[3], us_part + one_part end
  end
  if #open == 0 then return nil end
  us, us_part = normal(us, us_part, cap)
  us, us_part = lesser(us, us_part, tat, part)
  return {us, us_part, unpack(open)}
end

-- Of a fixed window or a calendar period: when the present one begins and ends, and when the next ends.
local function bounds(rule)
  local window = words[rule + 1]
  if words[rule] == FIXED then
    local start = now - now % window
    return start, start + window, start + 2 * window
  end
  local ending, next_ending = words[rule + 3], words[rule + 4]
  if now < ending then return window, ending, next_ending end
  return ending, next_ending, 2 * next_ending - ending
end

-- The moment from which on nobody misses the counter.
local function unused_from(slot, rule)
  local kind, moment = words[rule], moments[slot]
  if kind == BUCKET then
    return moment + 1
  elseif kind == SLIDING then
    return moment + 2 * words[rule + 1]
  elseif kind == SLOTS then
    return moment
  end
  local _, ending, next_ending = bounds(rule)
  return moment >= ending and next_ending or ending
end

local function keep(slot, rule)
  changed[slot] = rule
  local moment = unused_from(slot, rule)
  if moment > (ends[slot] or 0) then ends[slot] = moment end
end

local function write_changed()
  for slot, rule in pairs(changed) do
    local life = ceil((ends[slot] or 0) / 1000) + grace
    -- A life that is too long was written by a clock that was ahead, or for another rule.
    local is_off = lives[slot] < life or lives[slot] > life + words[rule + 5]
    if moments[slot] == 0 then -- All of it was given back.
      call('SET', KEYS[slot], written(slot, words[rule], 0), 'PX', 1)
    elseif is_off and (life * 1000 > now or lives[slot] == 0) then -- A settlement may come by a rule whose period is over.
      life = life + words[rule + 5]
      call('SET', KEYS[slot], written(slot, words[rule], life), 'PX', max(life - floor(now / 1000), 1))
    else
      call('SET', KEYS[slot], written(slot, words[rule], lives[slot]), 'KEEPTTL')
    end
  end
end

-- a * b / c and the rest, three bits of `a` at a time: exact as long as the quotient is.
local function divided(a, b, c)
  local quotient, rest = 0, 0
  for digit = 10, 0, -1 do
    rest = rest * 8 + floor(a / 8 ^ digit) % 8 * b
    quotient = quotient * 8 + (rest - rest % c) / c
    rest = rest % c
  end
  return quotient, rest
end

local function portion(a, b, c)
  local quotient, rest = divided(a, b, c)
  return min(rest > 0 and quotient + 1 or quotient, 1e9)
end

-- The numbers that a charge leaves in a counter.
local function number(slot, rule)
  numbers[slot] = words[rule + 7] ~= KEEP and {words[rule + 8], words[rule + 9]} or nil
end

-- Brings a counter that was counted by other numbers to those of the rule, if the rule says how, and says whether it did.
local function migrate(slot, rule)
  local mode, by, kind = words[rule + 7], numbers[slot], words[rule]
  if mode == KEEP or not by or by[1] == words[rule + 8] and by[2] == words[rule + 9] then return false end
  local from, to = by[1], words[rule + 8]
  local function used(before)
    return mode == PROPORTIONAL and portion(before, to, from) or mode == ADDITIVE and max(before - max(from - to, 0), 0) or 0
  end
  if kind == BUCKET then
    local missing = min(max(moments[slot] + (firsts[slot] > 0 and 1 or 0) - now, 0), 562949953421312)
    local us, part = divided(used(portion(from, missing, by[2])), words[rule + 1], words[rule + 2])
    moments[slot], firsts[slot], seconds[slot] = now + us, part, 0
  else
    firsts[slot] = used(firsts[slot])
    if kind == SLIDING then seconds[slot] = used(seconds[slot]) end
  end
  number(slot, rule)
  return true
end

-- Brings a state from too far ahead to the present.
local function pull_plain(slot, rule)
  local kind, moment = words[rule], moments[slot]
  if moment < now then return end
  local window = words[rule + 1]
  if kind == BUCKET then
    local cap = words[rule + 2]
    local part = min(firsts[slot], cap - 1)
    local beyond = moment - now - min(window, 1000000) - words[rule + 3]
    if beyond > 0 or beyond == 0 and part > words[rule + 4] then
      seconds[slot] = open_reserve(slot, cap) or 0
      moments[slot], firsts[slot] = now + words[rule + 3], words[rule + 4]
      keep(slot, rule)
    end
  elseif kind == SLOTS then
    local far = now + 2 * window
    if moment > far then
      local list = {}
      for index, own in ipairs(firsts[slot]) do list[index] = {own[1] > far and now + window or own[1], own[2], own[3], index} end
      table.sort(list, function(one, other) return one[1] < other[1] or one[1] == other[1] and one[4] < other[4] end)
      moments[slot], firsts[slot] = list[#list][1], list
      keep(slot, rule)
    end
  elseif kind == SLIDING then
    local present = now - now % window
    if moment >= present + 2 * window then
      moments[slot] = present
      keep(slot, rule)
    end
  else
    local present, _, next_ending = bounds(rule)
    if moment >= next_ending then
      moments[slot] = present
      keep(slot, rule)
    end
  end
end

local function pull(slot, rule)
  local migrated = migrate(slot, rule)
  pull_plain(slot, rule)
  if migrated then keep(slot, rule) end
end

-- The slots of a holder, and how many the others have.
local function own_slots(slot, holder)
  local own, others = nil, 0
  for _, one in ipairs(firsts[slot]) do
    if one[2] == holder then own = one else others = others + one[3] end
  end
  return own, others
end

-- Puts a holder's slots where their end belongs; with a count of 0 they are gone.
local function put_slots(slot, holder, ending, count)
  local list, placed = {}, count == 0
  for _, one in ipairs(firsts[slot]) do
    if not placed and one[1] > ending then
      list[#list + 1], placed = {ending, holder, count}, true
    end
    if one[2] ~= holder then list[#list + 1] = one end
  end
  if not placed then list[#list + 1] = {ending, holder, count} end
  moments[slot], firsts[slot] = #list > 0 and list[#list][1] or 0, list
end

-- Gives a holder a whole lease from now on, and at least the slots it had.
local function lease_slots(slot, rule, own, holder, count)
  put_slots(slot, holder, max(own and own[1] or 0, now + words[rule + 1]), max(own and own[3] or 0, count))
end
