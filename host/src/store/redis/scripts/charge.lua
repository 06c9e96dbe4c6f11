-- Takes lists of charges one after another, each whole or not at all.
--
-- After the rules comes how many runs there are, and the runs: each so many lists that are alike, of charges that refuse, each on a key of its own, of
-- windows or buckets that neither hold nor tell their numbers, the first on the first key and each on the next. A run: how many lists, how often each,
-- how many charges each has; the charges. Such a charge: index of the rule, cost, the part of the cost.
--
-- Then come all other lists. A list: how many charges, how often, the index of the key that remembers it or 0; the charges. A charge:
-- index of its key, index of its rule, mode, cost, and of a bucket the part of the cost, of slots the index of the holder.
--
-- Answers the time, how many lists were admitted, and what the keys held before: the caller works out the outcomes.

local ENFORCE, PEEK = 1, 3
local REMEMBERED = 600000

-- a * b / c rounded up, for b <= c. Where a * b passes 2^53: by long division, seven bits of `a` at a time.
local function share(a, b, c)
  local quotient, rest = 0, a * b
  if rest < 9007199254740992 then
    quotient, rest = (rest - rest % c) / c, rest % c
  else
    rest = 0
    for digit = 4, 0, -1 do
      rest = rest * 128 + floor(a / 128 ^ digit) % 128 * b
      quotient = quotient * 128 + (rest - rest % c) / c
      rest = rest % c
    end
  end
  return rest > 0 and quotient + 1 or quotient
end

-- Takes the cost if it fits, and says whether.
local takes = {}

takes[FIXED] = function(slot, rule, cost)
  local present, ending = bounds(rule)
  local start, used = moments[slot], firsts[slot]
  if start >= ending then start = ending elseif start >= present then start = present else start, used = present, 0 end
  if cost > words[rule + 2] - used then return false end
  moments[slot], firsts[slot] = start, used + cost
  return true
end

takes[CALENDAR] = takes[FIXED]

takes[SLIDING] = function(slot, rule, cost)
  local window = words[rule + 1]
  local present, start = now - now % window, moments[slot] - moments[slot] % window
  local earlier, used = firsts[slot], seconds[slot]
  if start < present then
    earlier, used = start + window == present and used or 0, 0
    start = present
  end
  local covered = window
  if now > start then covered = window - now + start end
  if cost > words[rule + 2] - used - (earlier > 0 and share(earlier, covered, window) or 0) then return false end
  moments[slot], firsts[slot], seconds[slot] = start, earlier, used + cost
  return true
end

-- What is reserved of a bucket after a charge, which is reserved itself if it is held.
local function reserve_after(slot, rule, cost, part)
  local cap, hold = words[rule + 2], words[rule + 6]
  local reserve = open_reserve(slot, cap)
  if hold == 0 then
    if not reserve then return 0 end
    reserve[1], reserve[2] = normal(reserve[1] + cost, reserve[2] + part, cap)
    return reserve
  end
  if not reserve then
    reserve = moments[slot] < now and {now, 0} or {moments[slot], min(firsts[slot], cap - 1)}
  end
  local newest = reserve[#reserve]
  if #reserve > 3 or #reserve == 3 and now < newest[1] + hold then
    local us, us_part = normal(newest[3] + cost, newest[4] + part, cap)
    reserve[#reserve] = {newest[1], max(newest[2], now + hold), us, us_part}
  else
    reserve[#reserve + 1] = {now, now + hold, cost, part}
  end
  return reserve
end

takes[BUCKET] = function(slot, rule, cost, part)
  local cap, tat, cost_part = words[rule + 2], moments[slot], part
  if tat < now then tat = now else part = part + min(firsts[slot], cap - 1) end
  tat = tat + cost
  if part >= cap then tat, part = tat + (part - part % cap) / cap, part % cap end
  local beyond = tat - now - words[rule + 3]
  if beyond > 0 or beyond == 0 and part > words[rule + 4] then return false end
  if seconds[slot] ~= 0 or words[rule + 6] > 0 then seconds[slot] = reserve_after(slot, rule, cost, cost_part) end
  moments[slot], firsts[slot] = tat, part
  return true
end

takes[SLOTS] = function(slot, rule, cost, holder)
  local own, others = own_slots(slot, ARGV[holder])
  if not (own and cost <= own[3]) and cost > words[rule + 2] - others then return false end
  lease_slots(slot, rule, own, ARGV[holder], cost)
  return true
end

-- What it takes to answer a list again: the time, and what each of its counters held.
local function memory_of(at, last)
  local parts = {pack('<I7', now)}
  for index = at, last, 5 do
    local slot, value = words[index], ''
    if moments[slot] > 0 then value = written(slot, words[words[index + 1]], lives[slot]) end
    parts[#parts + 1] = pack('<I2', #value) .. value
  end
  return table.concat(parts)
end

-- Takes all charges of a list or none, and says whether it was admitted.
local function admit(at, last)
  local taken = {}
  for index = at, last, 5 do
    local slot, rule, cost, part = words[index], words[index + 1], words[index + 3], words[index + 4]
    if words[index + 2] ~= PEEK and cost + part > 0 then
      local before = {slot, rule, moments[slot], firsts[slot], seconds[slot]}
      if takes[words[rule]](slot, rule, cost, part) then
        taken[#taken + 1] = before
      elseif words[index + 2] == ENFORCE then
        for undone = #taken, 1, -1 do
          local was = taken[undone]
          moments[was[1]], firsts[was[1]], seconds[was[1]] = was[3], was[4], was[5]
        end
        return false
      end
    end
  end
  for _, was in ipairs(taken) do
    keep(was[1], was[2])
    number(was[1], was[2])
  end
  return true
end

-- Makes one charge that refuses so many times, as most lists are, and answers how often it was admitted. Nothing is prepared for going back.
local function charge_alone(slot, rule, cost, part, times)
  local take, left = takes[words[rule]], times
  while left > 0 and take(slot, rule, cost, part) do left = left - 1 end
  if left < times then
    keep(slot, rule)
    number(slot, rule)
  end
  return times - left
end

-- Writes a counter that was held as `life` says, and ends at this moment.
local function write_plain(slot, life, ending, slack, state)
  local least = ceil(ending / 1000) + grace
  if life < least or life > least + slack then
    life = least + slack
    call('SET', KEYS[slot], pack('<I6', life) .. state, 'PX', max(life - floor(now / 1000), 1))
  else
    call('SETRANGE', KEYS[slot], '6', state) -- Cheaper than `SET` with `KEEPTTL`.
  end
end

-- Each makes one charge of every list of a run, which is on each `step`th key, as `takes` does step by step. `often` says how often each list is
-- made; what fits less often lowers it, and a counter that is not plain makes it -1. Writes only if it shall, since another charge may refuse.
local plainly = {}

plainly[BUCKET] = function(first, step, often, writes, rule, cost, cost_part)
  local cap, room, room_part, slack = words[rule + 2], words[rule + 3], words[rule + 4], words[rule + 5]
  local latest, slot = now + room, first
  for list = 1, #often do
    local times, value, life, tat, part = often[list], held[slot], 0, 0, 0
    if value then
      if #value == 17 then life, tat, part = decode('<I6I7I4', value) else part = cap end
    end
    if tat > latest or part >= cap then
      often[list] = -1
    elseif times > 0 then
      if tat < now then tat, part = now, 0 end
      local left = times
      while left > 0 do
        local next_tat, next_part = tat + cost, part + cost_part
        if next_part >= cap then next_tat, next_part = next_tat + (next_part - next_part % cap) / cap, next_part % cap end
        if next_tat > latest or next_tat == latest and next_part > room_part then break end
        tat, part, left = next_tat, next_part, left - 1
      end
      if left > 0 then often[list] = times - left end
      if writes and left < times then write_plain(slot, life, tat + 1, slack, pack('<I7I4', tat, part)) end
    end
    slot = slot + step
  end
end

plainly[FIXED] = function(first, step, often, writes, rule, cost)
  local present, ending = bounds(rule)
  local most, slack, slot = words[rule + 2], words[rule + 5], first
  if ending <= now then present = -1 end -- A calendar that is over.
  for list = 1, #often do
    local times, value, life, start, used = often[list], held[slot], 0, 0, 0
    if value then
      if #value == 17 then life, start, used = decode('<I6I7I4', value) else start = ending end
    end
    if start >= ending or used > 1e9 or present < 0 then
      often[list] = -1
    elseif times > 0 then
      if start < present then start, used = present, 0 end
      local fitting = min(times, max(floor((most - used) / cost), 0))
      if fitting < times then often[list] = fitting end
      if writes and fitting > 0 then write_plain(slot, life, ending, slack, pack('<I7I4', start, used + fitting * cost)) end
    end
    slot = slot + step
  end
end

plainly[CALENDAR] = plainly[FIXED]

plainly[SLIDING] = function(first, step, often, writes, rule, cost)
  local window, most, slack = words[rule + 1], words[rule + 2], words[rule + 5]
  local present, slot = now - now % window, first
  local covered, ending = window - now + present, present + 2 * window
  for list = 1, #often do
    local times, value, life, start, earlier, used = often[list], held[slot], 0, 0, 0, 0
    if value then
      if #value == 21 then life, start, earlier, used = decode('<I6I7I4I4', value) else start = ending end
    end
    if start >= present + window or earlier > 1e9 or used > 1e9 then
      often[list] = -1
    elseif times > 0 then
      start = start - start % window
      if start < present then
        earlier, used = start + window == present and used or 0, 0
      end
      local room = most - used - (earlier > 0 and share(earlier, covered, window) or 0)
      local fitting = min(times, max(floor(room / cost), 0))
      if fitting < times then often[list] = fitting end
      if writes and fitting > 0 then write_plain(slot, life, ending, slack, pack('<I7I4I4', present, earlier, used + fitting * cost)) end
    end
    slot = slot + step
  end
end

-- Where the run says what its charges are, and which key is the first. The last charge is written at once: all others fit by then.
local function charge_run(at, charges, first, often)
  local function make(index, writes)
    local word = at + 3 * (index - 1)
    local rule = words[word]
    plainly[words[rule]](first + index - 1, charges, often, writes, rule, words[word + 1], words[word + 2])
  end
  for index = 1, charges do make(index, index == charges) end
  for index = 1, charges - 1 do make(index, true) end
end

local admitted, at, remembered, size = 0, 5 + rules * WORDS_OF_RULE, {}, #words
local alone = 0
for _ = 1, words[at - 1] do
  local lists, times, charges, first, often = words[at], words[at + 1], words[at + 2], alone + 1, {}
  for list = 1, lists do often[list] = times end
  charge_run(at + 3, charges, first, often)
  for list = 1, lists do
    if often[list] >= 0 then
      admitted = admitted + often[list]
    else -- Said again at the end, as any other list.
      local last = #words
      words[last + 1], words[last + 2], words[last + 3] = charges, times, 0
      for index = 0, charges - 1 do
        local from, to = at + 3 + 3 * index, last + 4 + 5 * index
        words[to], words[to + 1], words[to + 2] = first + (list - 1) * charges + index, words[from], ENFORCE
        words[to + 3], words[to + 4] = words[from + 1], words[from + 2]
      end
    end
  end
  alone = alone + lists * charges
  at = at + 3 + 3 * charges
end

-- Whether the counter can be read: one that was charged in a run holds something else now.
local function readable(slot, kind)
  if moments[slot] then return true end
  local value = held[slot]
  if slot <= alone then value = pcall('GET', KEYS[slot]) end
  return type(value) ~= 'table' and read(slot, kind, value)
end

local function charge_lists(at, ending)
  while at <= ending do
    local last, times, once = at + words[at] * 5 + 2, words[at + 1], words[at + 2]
    at = at + 3
    -- A list that was remembered is answered as before, and one with a counter that cannot be read not at all: the caller sees both.
    local sound = once == 0 or not (held[once] or remembered[once])
    for index = at, last, 5 do
      sound = sound and readable(words[index], words[words[index + 1]])
    end
    if sound then
      for index = at, last, 5 do pull(words[index], words[index + 1]) end
      local slot, rule, cost, part = words[at], words[at + 1], words[at + 3], words[at + 4]
      if last == at + 4 and once == 0 and words[at + 2] == ENFORCE and cost + part > 0 then
        admitted = admitted + charge_alone(slot, rule, cost, part, times)
      else
        local memory = once > 0 and memory_of(at, last)
        while times > 0 and admit(at, last) do
          admitted, times = admitted + 1, times - 1
          if memory then
            remembered[once] = true
            call('SET', KEYS[once], memory, 'PX', REMEMBERED)
          end
        end
      end
    end
    at = last + 1
  end
end

charge_lists(size + 1, #words) -- As the caller counts, those of the runs come first.
charge_lists(at, size)
write_changed()
return {now, admitted, held}
