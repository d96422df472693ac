"""What one would write in an afternoon: checks the token, parses every line, appends, and answers after an fdatasync that
all batches share that came while the one before was under way. receiver.py PORT TOKEN FILE"""

import asyncio
import json
import os
import sys

from aiohttp import web

port, token, path = sys.argv[1:]
file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
waiting = []
arrived = asyncio.Event()


def write(bodies):
    for body in bodies:
        os.write(file, body)
    os.fdatasync(file)


async def commit():
    global waiting
    while await arrived.wait():
        arrived.clear()
        group, waiting = waiting, []
        await asyncio.to_thread(write, [body for body, _ in group])
        for _, answer in group:
            answer.set_result(None)


def valid(line):
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


async def take(request):
    if request.query.get("token") != token:
        return web.Response(status=401)
    body = await request.read()
    if not all(valid(line) for line in body.split(b"\n") if line):
        return web.Response(status=400)
    answer = asyncio.get_running_loop().create_future()
    waiting.append((body, answer))
    arrived.set()
    await answer
    return web.Response()


async def application():
    app = web.Application(client_max_size=10 << 20)
    app.router.add_post("/", take)
    app["commit"] = asyncio.create_task(commit())
    return app


web.run_app(application(), host="127.0.0.1", port=int(port), print=None, access_log=None)
