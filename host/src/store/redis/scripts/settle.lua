-- Gives back what a receipt no longer needs, or renews what it holds; once, however often it is asked.
--
-- KEYS[1] remembers it. After the rules come: 1 to settle, 2 to renew, or 3 to settle what nobody asks for twice, which is not remembered;
-- until when the receipt is open, and is to be, in microseconds; for how many microseconds more it is remembered; the charges. A charge:
-- index of its key, index of its rule; of a window what is given back, of a bucket what is not, and the part of it, of slots the index of
-- the holder; its mark; what was taken of a bucket, and the part of it.
--
-- Answers 1 if it was done, 2 if it was before, 3 if the time was over.

local SETTLE, RENEW = 1, 2
local DONE, ALREADY, LATE = 1, 2, 3

-- A counter that is as if unused is forgotten.
local function forget_if(unused, slot)
  if unused then moments[slot] = 0 end
end

local function back_to_window(slot, mark, amount)
  if moments[slot] == mark then firsts[slot] = max(firsts[slot] - amount, 0) end
  forget_if(firsts[slot] == 0, slot)
end

local function back_to_sliding(slot, rule, mark, amount)
  if moments[slot] == mark then
    seconds[slot] = max(seconds[slot] - amount, 0)
  elseif moments[slot] == mark + words[rule + 1] then
    firsts[slot] = max(firsts[slot] - amount, 0)
  end
  forget_if(firsts[slot] + seconds[slot] == 0, slot)
end

-- Of a bucket `us` and `part` stay of what was taken. Says whether that is open still.
local function back_to_bucket(slot, rule, mark, us, part, taken, taken_part)
  local cap = words[rule + 2]
  local reserve = open_reserve(slot, cap)
  if not reserve then return false end
  local found, total, total_part = false, 0, 0
  for index = 3, #reserve do
    local one = reserve[index]
    if one[1] == mark then
      local left, left_part = one[3] - taken, one[4] - taken_part
      if left_part < 0 then left, left_part = left - 1, left_part + cap end
      if left < 0 then left, left_part = 0, 0 end
      one = {one[1], one[2], left, left_part}
      reserve[index], found = one, true
    end
    total, total_part = total + one[3], total_part + one[4]
  end
  if not found then return false end
  local settled, settled_part = normal(reserve[1] + us, reserve[2] + part, cap)
  local most, most_part = normal(settled + total, settled_part + total_part, cap)
  moments[slot], firsts[slot] = lesser(moments[slot], min(firsts[slot], cap - 1), most, most_part)
  reserve[1], reserve[2] = lesser(settled, settled_part, moments[slot], firsts[slot])
  seconds[slot] = total + total_part > 0 and reserve or 0
  forget_if(moments[slot] == now and firsts[slot] == 0, slot)
  return true
end

-- Keeps the charges of a generation open for a whole hold from now on.
local function renew_in_bucket(slot, rule, mark)
  if not (moments[slot] or read(slot, BUCKET, held[slot])) or seconds[slot] == 0 then return end
  local renewed = {unpack(seconds[slot])}
  for index = 3, #renewed do
    local one = renewed[index]
    if one[1] == mark then renewed[index] = {one[1], max(one[2], now + words[rule + 6]), one[3], one[4]} end
  end
  seconds[slot] = renewed
  keep(slot, rule)
end

local function give_back(at)
  local slot, rule, amount, part, mark = words[at], words[at + 1], words[at + 2], words[at + 3], words[at + 4]
  local kind = words[rule]
  if held[slot] == false or not (moments[slot] or read(slot, kind, held[slot])) then return end
  local by = numbers[slot]
  if by and (by[1] ~= words[rule + 8] or by[2] ~= words[rule + 9]) then return end -- By other numbers it was another amount.
  if kind == BUCKET then
    if not back_to_bucket(slot, rule, mark, amount, part, words[at + 5], words[at + 6]) then return end
  elseif kind == SLIDING then
    back_to_sliding(slot, rule, mark, amount)
  elseif kind == SLOTS then
    put_slots(slot, ARGV[part], 0, 0)
  else
    back_to_window(slot, mark, amount)
  end
  keep(slot, rule)
end

local at = 4 + rules * WORDS_OF_RULE
local action, said, wanted, more = words[at], words[at + 1], words[at + 2], words[at + 3]
local first, last = at + 4, #words - 6
local note, open = nil, said
if action == SETTLE or action == RENEW then
  note = held[1]
  if note == 'settled' then return ALREADY end
  if note and not tonumber(note) then return redis.error_reply('POISONED not the note of a receipt') end
  open = max(said, note and tonumber(note) or 0)
  if now > open then return LATE end
end

if action ~= RENEW then
  for index = first, last, 7 do give_back(index) end
  note = action == SETTLE and 'settled'
else
  for index = first, last, 7 do
    local slot, rule = words[index], words[index + 1]
    if words[rule] == SLOTS and not ((moments[slot] or read(slot, SLOTS, held[slot])) and own_slots(slot, ARGV[words[index + 3]])) then return LATE end
  end
  for index = first, last, 7 do
    local slot, rule, holder = words[index], words[index + 1], ARGV[words[index + 3]]
    if words[rule] == SLOTS then
      local own = own_slots(slot, holder)
      lease_slots(slot, rule, own, holder, own[3])
      keep(slot, rule)
    elseif words[rule] == BUCKET then
      renew_in_bucket(slot, rule, words[index + 4])
    end
  end
  open = max(open, wanted)
  note = string.format('%.0f', open)
end

write_changed()
if note then call('SET', KEYS[1], note, 'PX', max(ceil((open - now + more) / 1000) + grace, 1)) end
return DONE
