local interval, capacity, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local tat = tonumber(redis.call('GET', KEYS[1]) or now)
if tat < now then tat = now end
local new = tat + cost * interval
local early = new - capacity * interval - now
if early > 0 then
  return {0, math.floor((capacity * interval + now - tat) / interval), math.ceil(early), math.ceil(tat - now)}
end
redis.call('SET', KEYS[1], string.format('%.0f', new), 'PX', math.ceil((new - now) / 1000))
return {1, math.floor(-early / interval), -1, math.ceil(new - now)}
