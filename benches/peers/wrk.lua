-- Sends bodies that differ: wrk -s wrk.lua URL -- FILE METHOD PATH. For PUT the path gets a number, so that each names a file.

function setup(thread)
    number = (number or -1) + 1
    thread:set("first", number * 500)
end

function init(args)
    requests, at = {}, first
    local file = io.open(args[1], "rb")
    local length = file:read("*n")
    while length do
        file:read(1)
        local path = args[3]
        if args[2] == "PUT" then path = path .. first + #requests end
        requests[#requests + 1] = wrk.format(args[2], path, nil, file:read(length))
        length = file:read("*n")
    end
end

function request()
    at = at + 1
    return requests[at % #requests + 1]
end

function done(summary)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write("\nanswers ", summary.requests, " ", failed, "\n")
end
