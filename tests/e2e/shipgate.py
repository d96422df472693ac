"""A running Shipgate, its API, and what its account's log holds."""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "target" / "e2e"
BINARY = os.environ.get("SHIPGATE_BINARY", str(ROOT / "target" / "debug" / "shipgate"))
API_TOKEN = "e2eapitoken0123456789abcdefghijkl"
SHIPPING_TOKEN = "e2eshippingtoken0123456789abcdef"
PORTS = {"GATEWAY__HTTP": "127.0.0.1:0", "CONTROL__HTTP": "127.0.0.1:0", "OPS__HTTP": "127.0.0.1:0"}
KNOWN_TOKENS = {
    "BOOTSTRAP__ACCOUNT": "e2e",
    "BOOTSTRAP__PLAN": "pro",
    "BOOTSTRAP__API_TOKEN": API_TOKEN,
    "BOOTSTRAP__SHIPPING_TOKEN": SHIPPING_TOKEN,
}
START_SECONDS = 30
SETTLE_SECONDS = 30


def eventually(what, check, seconds=SETTLE_SECONDS):
    """Asks until `check` gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Shipgate:
    """The all-in-one, or another `role`, with its data in `folder`, listening on ports of its own choice."""

    def __init__(self, folder, settings=PORTS | KNOWN_TOKENS, environment={}, role=()):
        self.folder = Path(folder)
        self.command = [BINARY, *role]
        self.doors = {"api", "ops"} if "control" in role else {"ingest", "api", "ops"}
        self.data = self.folder / "data"
        self.settings = {f"SHIPGATE__{key}": value for key, value in settings.items()} | environment
        self.start()

    def start(self):
        self.addresses = {}
        self.log = open(self.folder / "shipgate.log", "ab")
        self.process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=os.environ | self.settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
        )
        self.reader = threading.Thread(target=self._read_addresses, args=(self.process.stdout,))
        self.reader.start()
        try:
            eventually("it listens", self._listens, START_SECONDS)
            eventually("it is ready", lambda: self.get("ops", "/readyz")[0] == 200, START_SECONDS)
        except BaseException:
            self.kill()
            print(self.said())
            raise

    def _read_addresses(self, lines):
        for line in lines:
            self.log.write(line)
            self.log.flush()
            found = re.match(rb"\s*(ingest|api|ops)\s+(http://\S+)", line)
            if found:
                self.addresses[found[1].decode()] = found[2].decode().rstrip("/")

    def _listens(self):
        if self.process.poll() is not None:
            raise AssertionError(f"it ended at once with {self.process.returncode}")
        return self.doors <= self.addresses.keys()

    def said(self):
        return (self.folder / "shipgate.log").read_text(errors="replace")

    def stop(self):
        """Asks it to end, as an init system does; it must drain and say that all went well."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        return self._ended()

    def _ended(self):
        try:
            return self.process.wait(60)
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self.reader.join(10)
            self.process.stdout.close()
            self.log.close()

    def get(self, door, path):
        return self.ask(door, "GET", path)

    def ask(self, door, method, path, body=None):
        """Status and text of one request to `ingest`, `api` or `ops`."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.addresses[door] + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        request.add_header("X-API-TOKEN", API_TOKEN)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def change(self, method, path, body, expect):
        status, text = self.ask("api", method, f"/v1/log-shipping/tokens{path}", body)
        if status != expect:
            raise AssertionError(f"{method} {path} {body} was answered with {status} {text}")
        return json.loads(text)

    def create(self, name):
        return self.change("POST", "", {"name": name}, 201)

    def enable(self, token, enabled):
        return self.change("PUT", f"/{token['id']}", {"name": token["name"], "enabled": enabled}, 200)

    def delete(self, token):
        return self.change("DELETE", f"/{token['id']}", None, 200)

    def obeyed_in_time(self):
        """Of the changes of the directory, how many the gateway obeyed within 50 ms, as it says: `90 of 91`."""
        _, text = self.get("ops", "/metrics")
        name = "shipgate_directory_propagation_seconds"
        in_time, all = (
            re.search(rf"^{name}_{series} (\d+)$", text, re.MULTILINE)[1]
            for series in (r'bucket\{le="0\.05"\}', "count")
        )
        return f"{in_time} of {all}"

    def stored(self):
        """How often each log, by its `id`, stands in the account's log. Whoever has zstdcat can read it."""
        ids = Counter()
        for file in sorted(self.data.glob("logs/*/*.ndjson.zst")):
            plain = subprocess.run(["zstdcat", file], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if plain.returncode != 0:
                if not file.exists():
                    return self.stored()  # It was renamed while we looked.
                raise AssertionError(f"zstdcat cannot read {file.name}: {plain.stderr.decode()}")
            for line in plain.stdout.split(b"\n")[:-1]:
                log = json.loads(line)
                if "@timestamp" not in log or "type" not in log:
                    raise AssertionError(f"a stored log lacks @timestamp or type: {line[:200]}")
                ids[log["id"]] += 1
        return ids


def end(daemon):
    """Ends a client that runs until it is told to stop."""
    daemon.terminate()
    try:
        daemon.wait(20)
    finally:
        daemon.kill()
        daemon.wait()


class WithShipgate(unittest.TestCase):
    """A test with a folder and a Shipgate of its own."""

    # Data larger than a screen is of no use in a failure.
    maxDiff = 2000

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="shipgate-e2e-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.gate = Shipgate(self.folder)
        self.addCleanup(lambda: self.gate.kill())

    def tearDown(self):
        if not self._outcome.success:
            print(self.gate.said()[-4000:])


class WithChurn(WithShipgate):
    """The same with other admins busy at its API, and the final reckoning."""

    def setUp(self):
        super().setUp()
        self.steady = self.gate.create("steady")
        self.toggled = self.gate.create("toggled")
        self.doomed = self.gate.create("doomed")
        self.tokens = [self.steady["token"], self.toggled["token"], self.doomed["token"]]
        self.churn = Churn(self.gate)
        self.addCleanup(self.churn.stop)

    def reckon(self, told, unanswered=None):
        """What clients were told was accepted (`told`: id -> how often) is stored that often. A batch that got no answer
        may be stored as well (`unanswered`: id -> how often); nothing else may."""
        unanswered = unanswered or Counter()
        self.churn.stop()
        say(f"{self.gate.obeyed_in_time()} changes of tokens obeyed within 50 ms")
        eventually("everything accepted is in the log", lambda: not told - self.gate.stored())
        self.assertEqual(self.gate.stop(), 0, "it did not end in good order")
        stored = self.gate.stored()
        lost, excess = told - stored, stored - told - unanswered
        self.assertFalse(lost, f"{lost.total()} accepted lines are lost")
        self.assertFalse(excess, f"{excess.total()} lines are stored twice or were refused")
        say(f"{told.total()} accepted and stored, {(stored - told).total()} stored without an answer")


class Churn:
    """Admins at work: tokens are created, disabled, enabled and deleted all the time."""

    def __init__(self, gate):
        self.gate = gate
        self.failure = None
        self.rounds = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            while not self.stopping.wait(0.05):
                token = self.gate.create(f"churn {self.rounds}")
                self.gate.enable(token, False)
                self.gate.enable(token, True)
                self.gate.delete(token)
                self.rounds += 1
        except Exception as failure:  # Told to whoever stops it.
            self.failure = failure

    def stop(self):
        self.stopping.set()
        self.thread.join(30)
        failure, self.failure = self.failure, None
        if failure:
            raise failure


def say(text):
    print(f"    {text}", flush=True)
