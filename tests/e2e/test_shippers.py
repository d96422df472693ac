"""Published shippers, each through a tap, while the tokens they use are disabled, deleted and enabled."""

import os
import subprocess
import threading
import time
import unittest
from pathlib import Path

from shipgate import TOOLS, WithChurn, end, eventually, say
from tap import Tap

CLIENTS = Path(__file__).parent / "clients"
LINES_MIN = 3000
# How long a gateway may take to obey, seen from outside on a busy machine. What it promises is measured elsewhere.
OBEYS_SECONDS = 1.0


class Shippers(WithChurn):
    def setUp(self):
        super().setUp()
        self.tap = Tap(self.gate.addresses["ingest"])
        self.addCleanup(self.tap.close)

    def ship_through_changes(self, command, environment=None):
        """Runs a client that ships with three tokens until its standard input ends."""
        with open(self.folder / "client.log", "wb") as log:
            client = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        try:
            changed = self.change_tokens()
            eventually("thousands of lines", lambda: self.tap.ledger()[0].total() >= LINES_MIN)
            client.stdin.close()
            client.wait(60)
        finally:
            if client.poll() is None:
                client.kill()
                client.wait()
        self.assertEqual(client.returncode, 0, (self.folder / "client.log").read_text())
        self.finish(changed)

    def change_tokens(self):
        """Disables one token and deletes another under way, then enables the first; returns when, as answered."""
        eventually("all three are accepted", lambda: all(self.seen(token, 200) for token in self.tokens))
        self.gate.enable(self.toggled, False)
        disabled = time.monotonic()
        self.gate.delete(self.doomed)
        deleted = time.monotonic()
        eventually("both are refused", lambda: all(self.seen(token, 401) for token in self.tokens[1:]))
        time.sleep(OBEYS_SECONDS)
        enabling = time.monotonic()
        self.gate.enable(self.toggled, True)
        eventually("the enabled one is accepted again", lambda: self.seen(self.toggled["token"], 200, enabling))
        return disabled, deleted, enabling

    def seen(self, token, status, since=0.0):
        return sum(e.token == token and e.status == status and e.began > since for e in self.tap.exchanges())

    def finish(self, changed):
        disabled, deleted, enabling = changed
        self.obeyed(self.toggled, disabled, enabling)
        self.obeyed(self.doomed, deleted, float("inf"))
        self.assertEqual(self.seen(self.steady["token"], 401), 0, "a token nobody touched was refused")
        told, refused, unanswered = self.tap.ledger()
        self.assertGreaterEqual(told.total(), LINES_MIN)
        say(f"{told.total()} lines accepted, {refused.total()} refused, {unanswered.total()} unanswered")
        self.reckon(told, unanswered)

    def obeyed(self, token, since, until):
        """Between the API's answer, and a moment, and the next change no batch was accepted."""
        late = [
            exchange.began - since
            for exchange in self.tap.exchanges()
            if exchange.token == token["token"] and exchange.status == 200 and since < exchange.began < until
        ]
        say(f"{token['name']}: {len(late)} batches accepted after the API's answer, the last {max(late, default=0):.3f} s")
        self.assertLess(max(late, default=0), OBEYS_SECONDS)

    def test_python_handler(self):
        python = TOOLS / "venv" / "bin" / "python"
        self.ship_through_changes([python, CLIENTS / "python_handler.py", self.tap.url, *self.tokens])

    def node(self, library):
        modules = os.environ | {"NODE_PATH": str(TOOLS / "node_modules")}
        command = ["node", CLIENTS / "nodejs.js", library, str(self.tap.port), *self.tokens]
        self.ship_through_changes(command, modules)

    def test_logzio_nodejs(self):
        self.node("logzio-nodejs")

    def test_winston_logzio(self):
        self.node("winston-logzio")

    def test_syslog_ng(self):
        files = [self.folder / f"{at}.log" for at in range(3)]
        config = self.folder / "syslog-ng.conf"
        config.write_text("@version: 3.38\n")
        with config.open("a") as text:
            text.write("options { stats-freq(0); time-reopen(1); };\n")
            for file, token in zip(files, self.tokens):
                file.touch()
                text.write(SYSLOG_NG.format(file=file, url=f"{self.tap.url}/?type=syslog&token={token}"))
        daemon = start_syslog_ng(config, self.folder)
        try:
            writer = Writer(files)
            try:
                changed = self.change_tokens()
                eventually("thousands of lines", lambda: self.tap.ledger()[0].total() >= LINES_MIN)
            finally:
                written = writer.stop()
            eventually("all is answered", lambda: sum(len(b) for b in self.tap.ledger()[:2]) == written)
        finally:
            end(daemon)
        self.finish(changed)


SYSLOG_NG = """
log {{
    source {{ file("{file}" follow-freq(0.05) flags(no-parse)); }};
    destination {{
        http(
            url("{url}") method("POST") headers("Content-Type: application/json")
            body("${{MSG}}") delimiter("\\n") batch-lines(200) batch-timeout(50) workers(2)
            # By default it would try a refused batch three times, a second apart.
            response-action(401 => drop)
        );
    }};
}};
"""


def start_syslog_ng(config, folder):
    """The installed syslog-ng, or the one tests/run has unpacked."""
    unpacked = TOOLS / "syslog-ng"
    prefix = unpacked if unpacked.exists() else Path("/")
    modules = next(path.parent for path in prefix.glob("usr/lib/syslog-ng/*/libhttp.so"))
    libraries = [prefix / "usr/lib/syslog-ng", *prefix.glob("usr/lib/*-linux-gnu")]
    environment = os.environ | {"LD_LIBRARY_PATH": ":".join(map(str, libraries))} if unpacked.exists() else None
    command = [prefix / "usr/sbin/syslog-ng", "--foreground", "--no-caps", f"--cfgfile={config}"]
    command += [f"--{name}={folder}/syslog-ng.{name}" for name in ("control", "persist-file", "pidfile")]
    command += [f"--module-path={modules}"]
    with open(folder / "client.log", "wb") as log:
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


class Writer:
    """Programs that append to their log files."""

    ROUNDS_MAX, LINES_A_ROUND = 1000, 20

    def __init__(self, files):
        self.files = files
        self.written = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        for round in range(self.ROUNDS_MAX):
            for at, file in enumerate(self.files):
                lines = [f'{{"id":"syslog-{at}-{round}-{line}"}}\n' for line in range(self.LINES_A_ROUND)]
                with file.open("a") as log:
                    log.write("".join(lines))
                self.written += len(lines)
            if self.stopping.wait(0.02):
                return

    def stop(self):
        self.stopping.set()
        self.thread.join()
        return self.written


if __name__ == "__main__":
    unittest.main()
