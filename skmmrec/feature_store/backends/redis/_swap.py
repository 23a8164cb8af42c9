"""The script that puts a staged model in the place of the served one."""

# One atomic step: the served fields go, the staged ones take their place. Keys are
# binary and end in the project's name; the length of the id tells projects apart. All
# keys are listed in any case: pages of 10,000 keep the calls few and the memory low.
SWAP = """
local pattern, prefix, project = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local stage, ttl = ARGV[4], tonumber(ARGV[5])
local fields = {}
for n = 6, #ARGV do fields[#fields + 1] = ARGV[n] end
local cursor = '0'
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 10000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local a, b, c, d = string.byte(key, prefix + 5, prefix + 8)
    local length = a + 256 * b + 65536 * c + 16777216 * d
    if #key == prefix + 8 + length + #project then
      redis.call('HDEL', key, unpack(fields))
    end
  end
until cursor == '0'
for _, key in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local staged = stage .. key
  if redis.call('RENAMENX', staged, key) == 0 then
    redis.call('HSET', key, unpack(redis.call('HGETALL', staged)))
    redis.call('UNLINK', staged)
  end
  if ttl > 0 then redis.call('EXPIRE', key, ttl) end
end
redis.call('UNLINK', KEYS[1])
"""
