"""Scripts that Redis runs as one step. Each is given some 100 rows: about 1 ms."""

# Commands that run only while entries have certain values, and once. Redis does not let
# a script run EVAL, so a script among the commands is called as a function.
#
# KEYS: an entry that tells what ran last, then those that must have certain values.
# ARGV: what to put into the first, those values, and for each command the number of its
# words and the words.
WHILE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
for n = 2, #KEYS do
  if redis.call('GET', KEYS[n]) ~= ARGV[n] then return 0 end
end
local function words(first, last)
  local found = {}
  for n = first, last do found[n - first + 1] = ARGV[n] end
  return found
end
local at = #KEYS + 1
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  if ARGV[at + 1] == 'EVAL' then
    local script = assert(loadstring('local KEYS, ARGV = ...\\n' .. ARGV[at + 2]))
    local keys = at + 3 + tonumber(ARGV[at + 3])
    script(words(at + 4, keys), words(keys + 1, last))
  else
    redis.call(unpack(ARGV, at + 1, last))
  end
  at = last + 1
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""

# Rows of a published view that are written beside the publication. A value is kept
# behind the eight bytes of its event time.
#
# KEYS: what is served, counts of changes, the list of columns, then the columns, that
# of the version first. ARGV: what is served as we know it; "newer" to keep newer
# values, "later" to date whatever is written after what it replaces; the serialized
# version that is served (empty: nothing is); since when; the view; its mark, for both
# entries that tell of the columns; what the column of the version tells of the others;
# and for each row its key, event time and number of values, then for each value the
# number of its column and itself. Each row gets a cell for its version, by which rows
# are listed, and each column a field that stays.
PUT_LATER = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
local later, version, since = ARGV[2] == 'later', ARGV[3], tonumber(ARGV[4])
local function time(cell) return (struct.unpack('<i8', cell)) end
local at = 8
while at <= #ARGV do
  local key, when, count = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  at = at + 3
  local tag, stored, latest = redis.call('HGET', KEYS[4], key), {}, since
  local ours = version == ''
      or (tag and string.sub(tag, 9) == version and time(tag) > since)
  for n = 4, #KEYS do
    if ours then
      local cell = redis.call('HGET', KEYS[n], key)
      if cell then
        stored[n] = time(cell)
        latest = math.max(latest, stored[n])
      end
    else
      redis.call('HDEL', KEYS[n], key)
    end
  end
  if later then when = math.max(when, latest + 1) end
  local stamp = struct.pack('<i8', when)
  for n = 1, count do
    local column = tonumber(ARGV[at]) + 3
    if not stored[column] or stored[column] <= when then
      redis.call('HSET', KEYS[column], key, stamp .. ARGV[at + 1])
    end
    at = at + 2
  end
  redis.call('HSETNX', KEYS[4], key, stamp)
end
for n = 5, #KEYS do redis.call('HSETNX', KEYS[n], '', '') end
redis.call('HSET', KEYS[4], '', ARGV[7])
redis.call('SADD', KEYS[3], ARGV[6])
redis.call('HSET', KEYS[2], ARGV[6], 1)
redis.call('HINCRBY', KEYS[2], ARGV[5], 1)
return 1
"""

# Rows of a published view that are not what they were when they were seen stay.
#
# KEYS: the columns, that of the version first. ARGV: keys, each with what its version
# was when it was seen.
CLEAN_LATER = """
for at = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[at]) == ARGV[at + 1] then
    for n = 1, #KEYS do redis.call('HDEL', KEYS[n], ARGV[at]) end
  end
end
"""

# Rows of any other view, as Feast keeps them: a hash for each entity, with the event
# time of each view's row as a protobuf Timestamp.
#
# KEYS: counts of changes, then the hash of each row. ARGV: the view, the name of the
# time's field, seconds to live (0: for ever); and for each row its seconds,
# nanoseconds, serialized time and number of values, then each field and value.
PUT_FEAST = """
local function time(stamp)
  local parts, at = {0, 0}, 1
  while at <= #stamp do
    local field = math.floor(string.byte(stamp, at) / 8)
    local sum, rest, low, scale, length, byte = 0, 0, 0, 1, 0, 0
    repeat
      at, length = at + 1, length + 1
      byte = string.byte(stamp, at)
      sum = sum + byte % 128 * scale
      rest = rest + (127 - byte % 128) * scale
      if length == 9 then low = rest end
      scale = scale * 128
    until byte < 128
    if length == 10 then sum = -low - 1 end
    parts[field] = sum
    at = at + 1
  end
  return parts[1], parts[2]
end
local at = 4
for row = 2, #KEYS do
  local seconds, nanos = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local stamp, count = ARGV[at + 2], tonumber(ARGV[at + 3])
  at = at + 4
  local stored, newer = redis.call('HGET', KEYS[row], ARGV[2]), false
  if stored then
    local s, n = time(stored)
    newer = s > seconds or (s == seconds and n > nanos)
  end
  if not newer then
    redis.call('HSET', KEYS[row], ARGV[2], stamp)
    for n = at, at + 2 * count - 1, 2 do
      redis.call('HSET', KEYS[row], ARGV[n], ARGV[n + 1])
    end
    if ARGV[3] ~= '0' then redis.call('EXPIRE', KEYS[row], ARGV[3]) end
  end
  at = at + 2 * count
end
redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
"""
