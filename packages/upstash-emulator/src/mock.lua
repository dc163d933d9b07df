-- Runs one script in ioredis-mock as Redis would run it. ioredis-mock has Lua 5.3 and a `redis` whose replies are
-- JavaScript values: null is neither nil nor false, nested arrays start at 0, "" is lost, numbers arrive as numbers.
-- The script and the time come last in ARGV. The result leaves as JSON, because on its own it would lose the same.

local source, microseconds, seconds = table.remove(ARGV), table.remove(ARGV), table.remove(ARGV)
local native = call
local function mock(...) return native(true, ...) end -- true: an error comes back as { "error", message }
local null = mock("TIME")[0] -- every reply that is an array has null in front
local EVERYTHING = "1000000000"
local EXISTENCE = { GET = "EXISTS", HGET = "HEXISTS" }

local function fromJs(value, first)
  if value == nil or value == null then return false end
  if type(value) == "number" then return math.tointeger(value) or value end
  if type(value) ~= "userdata" then return value end
  local list = {}
  for index = first or 0, value.length - 1 do list[#list + 1] = fromJs(value[index]) end
  return list
end

local function toArgument(value)
  if type(value) == "string" then return value end
  if type(value) == "number" then return string.format("%.17g", value) end
  error({ err = "ERR Lua redis lib command arguments must be strings or integers" }, 0)
end

local function prepare(name, arguments)
  if name == "SET" then -- options in lower case would be ignored
    for index = 3, #arguments do arguments[index] = arguments[index]:upper() end
  elseif name == "SCAN" then -- its cursor is a position, so keys deleted between two pages would hide others
    local pattern = "*"
    for index = 2, #arguments - 1 do
      if arguments[index]:upper() == "MATCH" then pattern = arguments[index + 1] end
    end
    return { arguments[1], "MATCH", pattern, "COUNT", EVERYTHING }
  end
  return arguments
end

local function call(name, ...)
  local arguments = {}
  for index = 1, select("#", ...) do arguments[index] = toArgument((select(index, ...))) end
  name = toArgument(name):upper()
  if name == "TIME" then return { seconds, microseconds } end
  arguments = prepare(name, arguments)

  local reply = mock(name, table.unpack(arguments))
  if type(reply) == "userdata" and reply[0] == "error" then
    local message = tostring(reply[1]):gsub("^%a*Error: ", "")
    if message:find("reading 'bind'", 1, true) then message = "ERR Unknown Redis command called from script" end
    error({ err = message }, 0)
  end
  reply = fromJs(reply, 1)
  if reply == false and EXISTENCE[name] and mock(EXISTENCE[name], table.unpack(arguments)) == 1 then return "" end
  return reply
end

local function escape(character)
  return string.format("\\u%04x", character:byte())
end

local function quote(text)
  return '"' .. text:gsub('[%c"\\]', escape) .. '"'
end

local function toJson(value)
  local kind = type(value)
  if kind == "string" then return quote(value) end
  if kind == "number" then return string.format("%.0f", value < 0 and math.ceil(value) or math.floor(value)) end
  if kind == "boolean" then return value and "1" or "null" end
  if kind ~= "table" then return "null" end
  if value.err then return '{"err":' .. quote(tostring(value.err)) .. "}" end
  if value.ok then return quote(tostring(value.ok)) end
  local list = {}
  for index = 1, #value do
    if value[index] == nil then break end
    list[index] = toJson(value[index])
  end
  return "[" .. table.concat(list, ",") .. "]"
end

redis = {
  call = call,
  pcall = function(...)
    local ok, result = pcall(call, ...)
    return result
  end,
  error_reply = function(text) return { err = text } end,
  status_reply = function(text) return { ok = text } end,
  log = function() end,
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
}
_G.call, io, os, package, require, debug = nil, nil, { clock = os.clock }, nil, nil, nil

local script, complaint = load(source, "@user_script")
if not script then return toJson({ err = "ERR Error compiling script (new function): " .. complaint }) end

setmetatable(_G, {
  __index = function(_, name) error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2) end,
  __newindex = function() error("Attempt to modify a readonly table", 2) end,
})
local ok, result = pcall(script)
if not ok and type(result) ~= "table" then result = { err = "ERR " .. tostring(result) } end
return toJson(result)
