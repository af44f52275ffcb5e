-- What wrk sends: a request with a token, again and again. The arguments, in order:
--   the file of tokens, one a line
--   how many of them there are to take
--   how many of these, the first ones, are repeated, in turn
--   every how many requests one of the others is sent instead, a fresh one; 0 for never
--   how many fresh ones were sent before
--   how many repeated ones were sent before
--   0 if these are sent in their turn; else they are drawn at random, and this is the seed
--   the length of the body of a POST; 0 for a GET without one
--   how many milliseconds to wait before a request, on average; 0 for none
-- `done` prints one line of JSON.

local head, tail
local tokens = {}
local repeated, every, seed
local asked, fresh, again = 0, 0, 0

function init(args)
  local most = tonumber(args[2])
  repeated, every = tonumber(args[3]), tonumber(args[4])
  fresh, again, seed = tonumber(args[5]), tonumber(args[6]), tonumber(args[7])
  math.randomseed(seed)
  for token in io.lines(args[1]) do
    tokens[#tokens + 1] = token
    if #tokens == most then
      break
    end
  end
  local pause = tonumber(args[9])
  if pause > 0 then
    function delay()
      return math.random(math.floor(pause / 2), math.ceil(pause * 3 / 2))
    end
  end
  local bytes = tonumber(args[8])
  local whole
  if bytes > 0 then
    whole = wrk.format("POST", wrk.path, { authorization = "Bearer @" }, ("x"):rep(bytes))
  else
    whole = wrk.format("GET", wrk.path, { authorization = "Bearer @" })
  end
  local at = whole:find("@", 1, true)
  head, tail = whole:sub(1, at - 1), whole:sub(at + 1)
end

function request()
  local at
  if every > 0 and asked % every == 0 then
    at = repeated + fresh % (#tokens - repeated)
    fresh = fresh + 1
  else
    at = seed > 0 and math.random(0, repeated - 1) or again % repeated
    again = again + 1
  end
  asked = asked + 1
  return head .. tokens[at + 1] .. tail
end

function done(summary, latency)
  local errors = summary.errors
  local line = '{"requests":%d,"duration_us":%d,"p50_us":%d,"p90_us":%d,"p99_us":%d,"refused":%d,"broken":%d}\n'
  io.write(line:format(
    summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(90), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout
  ))
end
