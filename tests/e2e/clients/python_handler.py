"""Ships through logzio-python-handler until its standard input ends: URL TOKEN..."""

import logging
import sys
import threading

from logzio.handler import LogzioHandler

ROUNDS_MAX, LINES_A_ROUND = 1000, 20

url, tokens = sys.argv[1], sys.argv[2:]
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()

loggers = []
for at, token in enumerate(tokens):
    logger = logging.getLogger(f"e2e.{at}")
    logger.setLevel(logging.INFO)
    logger.addHandler(LogzioHandler(token, url=url, logs_drain_timeout=1, backup_logs=False, retry_timeout=1))
    loggers.append(logger)

for round in range(ROUNDS_MAX):
    for at, logger in enumerate(loggers):
        for line in range(LINES_A_ROUND):
            logger.info("a log \u00e4\u4e16 %d", line, extra={"id": f"python-{at}-{round}-{line}"})
        logger.handlers[0].flush()
    if stop.wait(0.01):
        break
