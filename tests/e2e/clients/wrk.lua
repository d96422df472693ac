-- Posts batches of logs with ids of their own and writes down what became of each: wrk -s wrk.lua URL -- FOLDER TOKEN...
-- With as many threads as connections every thread waits for the answer to its last request.

local threads = 0

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

function init(args)
    local tokens = { select(2, unpack(args)) }
    path = "/?type=wrk&token=" .. tokens[number % #tokens + 1]
    book = io.open(args[1] .. "/" .. number .. ".txt", "w")
    count = 0
end

function request()
    count = count + 1
    local lines = {}
    for line = 1, 10 do
        lines[line] = string.format('{"id":"wrk-%d-%d-%d","message":"a log"}\n', number, count, line)
    end
    book:write("sent ", count, "\n")
    return wrk.format("POST", path, nil, table.concat(lines))
end

function response(status)
    book:write("told ", count, " ", status, "\n")
end
