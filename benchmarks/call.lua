-- One tools/call after the other, each with an id and a text of its own, as an agent's would have; every answer is looked at.
-- CALL_HEADERS: lines of `name: value`. CALL_BODY: the message, with 10000000 wherever the number of the call belongs.
-- What an answer must have: CALL_TEXT (likewise), CALL_EVENTS progress notifications, CALL_BYTES_MIN bytes.

local first = "10000000" -- numbers keep this many digits, so that lengths never change
local number = tonumber(first)
local pieces, asked, threads = {}, {}, {}
local text, events, bytes_min = os.getenv("CALL_TEXT"), tonumber(os.getenv("CALL_EVENTS")), tonumber(os.getenv("CALL_BYTES_MIN"))

function setup(thread)
   table.insert(threads, thread)
end

function init()
   wrong, example = 0, "" -- global: `done` reads them from outside
   wrk.method = "POST"
   for name, value in os.getenv("CALL_HEADERS"):gmatch("([^:\n]+): ([^\n]*)") do
      wrk.headers[name] = value
   end
   local whole = wrk.format(nil, nil, nil, os.getenv("CALL_BODY"))
   for piece in (whole .. first):gmatch("(.-)" .. first) do
      table.insert(pieces, piece)
   end
end

function request()
   number = number + 1
   asked[number] = true
   return table.concat(pieces, number)
end

-- An answer says which call it is for; that call was asked and not answered yet, and what it returns is that call's own.
local function is_right(status, body)
   local id = tonumber(body:match('"id":%s*(%d+)'))
   if status ~= 200 or id == nil or not asked[id] then
      return false
   end
   asked[id] = nil
   if events > 0 and select(2, body:gsub("notifications/progress", "")) ~= events then
      return false
   end
   return #body >= bytes_min and body:find(text:gsub(first, id), 1, true) ~= nil
end

function response(status, headers, body)
   if not is_right(status, body) then
      wrong = wrong + 1
      if wrong == 1 then
         example = status .. " " .. body:sub(1, 300):gsub("\n", " ")
      end
   end
end

function done()
   local all, one = 0, ""
   for _, thread in ipairs(threads) do
      all = all + thread:get("wrong")
      one = one .. thread:get("example")
   end
   io.write("wrong answers: ", all, "\n", one, "\n")
end
