-- Counts words, and shows the result through a child process. The same script runs in Lua and in LuaJIT.
local counts = {}
for line in io.lines("/data/words.txt") do
  for word in line:gmatch("%w+") do counts[word] = (counts[word] or 0) + 1 end
end
local words = {}
for word in pairs(counts) do words[#words + 1] = word end
table.sort(words, function(a, b)
  if counts[a] ~= counts[b] then return counts[a] > counts[b] end
  return a < b
end)
local child = assert(io.popen("cat > " .. arg[1], "w"))
for at = 1, 3 do child:write(counts[words[at]], " ", words[at], "\n") end
assert(child:close())
