local limit, window, cost = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local used = redis.call('INCRBY', KEYS[1], cost)
if used == cost then
  redis.call('PEXPIRE', KEYS[1], window)
end
if used > limit then
  return {0, 0}
end
return {1, limit - used}
