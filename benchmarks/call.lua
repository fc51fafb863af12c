-- One tools/call after the other, each with an id of its own, as an agent's would have.
-- CALL_HEADERS: lines of `name: value`; CALL_BODY: the message, with 10000000 for its id.

local first = "10000000" -- ids keep this many digits, so that the length never changes
local before, after
local id = tonumber(first)

function init()
   wrk.method = "POST"
   for name, value in os.getenv("CALL_HEADERS"):gmatch("([^:\n]+): ([^\n]*)") do
      wrk.headers[name] = value
   end
   local whole = wrk.format(nil, nil, nil, os.getenv("CALL_BODY"))
   local from, to = whole:find(first, 1, true)
   before, after = whole:sub(1, from - 1), whole:sub(to + 1)
end

function request()
   id = id + 1
   return before .. id .. after
end
