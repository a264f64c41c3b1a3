-- Builds a table, says that it is ready, and writes what it is where it may. A function of C that Lua calls returns how many of its values, the
-- last ones given, are the answer: strait_checkpoint() returns 1 in a clone, and 0 before.
local squares = {}
for n = 1, 200000 do squares[n] = n * n end
local checkpoint = assert(package.loadlib("/strait/libstrait.so", "strait_checkpoint"))
local kind = checkpoint("clone") or "original"
for n = 200001, 400000 do squares[n] = n * n end
local sum = 0
for _, square in ipairs(squares) do sum = (sum + square) % 1000003 end
local out = assert(io.open("/out/" .. kind, "w"))
out:write(#squares, " ", sum, "\n")
assert(out:close())
