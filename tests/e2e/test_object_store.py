"""A real S3 server: sealed files go there, go away here, and are found; and what happens while the server is gone."""

import base64
import json
import os
import re
import socket
import subprocess
import tempfile
import unittest
import urllib.request
from collections import Counter
from pathlib import Path

from shipgate import KNOWN_TOKENS, PORTS, SHIPPING_TOKEN, TOOLS, Shipgate, eventually, say

WEED = TOOLS / "venv" / "bin" / "weed"
KEY, SECRET = "e2e-access-key", "e2e-secret-that-nobody-may-see"
START_SECONDS = 60
# More than two pieces of an upload.
LONG_BYTES = 20_000_000


def certificate(folder):
    """Files of a certificate of 127.0.0.1, which is its own authority, and of its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", "/CN=e2e", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
        + ["-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    return certificate, key


class Seaweed:
    """SeaweedFS with an S3 server, on ports of its own; its data outlives it. `tls`: files of its certificate and key."""

    def __init__(self, folder, tls=None):
        self.folder = folder
        self.tls = [f"-s3.cert.file={tls[0]}", f"-s3.key.file={tls[1]}"] if tls else []
        names = ["master", "volume", "filer", "s3"]
        self.ports = dict(zip(names, free_ports(len(names))))
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        credentials = [{"accessKey": KEY, "secretKey": SECRET}]
        identities = [{"name": "e2e", "credentials": credentials, "actions": actions}]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))
        (folder / "data").mkdir()
        self.start()
        self.shell("s3.bucket.create -name logs")

    def start(self):
        ports = self.ports
        self.log = open(self.folder / "weed.log", "ab")
        self.process = subprocess.Popen(
            [WEED, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}"]
            + [f"-master.port={ports['master']}", f"-volume.port={ports['volume']}", "-master.volumeSizeLimitMB=64"]
            + ["-volume.max=50", "-filer", f"-filer.port={ports['filer']}", "-s3", f"-s3.port={ports['s3']}"]
            + ["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"]
            + [f"-s3.config={self.folder / 's3.json'}"]
            + self.tls,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        eventually("the S3 server listens", lambda: listens(ports["s3"]), START_SECONDS)
        eventually("it has room", self.has_room, START_SECONDS)

    def has_room(self):
        try:
            url = f"http://127.0.0.1:{self.ports['master']}/dir/assign"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return "fid" in json.load(answer)
        except OSError:
            return False

    def shell(self, command):
        master = f"-master=127.0.0.1:{self.ports['master']}"
        done = subprocess.run([WEED, "shell", master], input=command, text=True, capture_output=True, timeout=60)
        if done.returncode:
            raise AssertionError(f"{command}: {done.stdout} {done.stderr}")
        return done.stdout

    def kill(self):
        self.process.kill()
        self.process.wait(60)
        self.log.close()


def free_ports(count):
    """Ports that are free, as are those 10,000 above, which SeaweedFS takes as well."""
    found = set()
    while len(found) < count:
        with socket.socket() as high, socket.socket() as low:
            high.bind(("127.0.0.1", 0))
            port = high.getsockname()[1] - 10_000
            try:
                low.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.add(port)
    return list(found)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class ObjectStore(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="shipgate-e2e-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.told = Counter()

    def begin(self, settings, tls=None):
        self.store = Seaweed(self.folder, tls)
        self.addCleanup(lambda: self.store.kill())
        scheme = "https" if tls else "http"
        self.settings = PORTS | KNOWN_TOKENS | {
            "GATEWAY__ID": "e2e",
            "LOGS__CHECKPOINT_INTERVAL_MS": "100",
            "LOGS__OBJECT_STORE__URL": "s3://logs/under/a/prefix",
            "LOGS__OBJECT_STORE__ENDPOINT": f"{scheme}://127.0.0.1:{self.store.ports['s3']}",
            "LOGS__OBJECT_STORE__LOCAL_BYTES_MAX": "0",
        } | settings
        self.environment = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        self.gate = Shipgate(self.folder, self.settings, self.environment)
        self.addCleanup(lambda: self.gate.kill())

    def tearDown(self):
        if not self._outcome.success:
            print(self.gate.said()[-4000:])

    def ship(self, batches, message=lambda: "a log", lines=20):
        for _ in range(batches):
            at = len(self.told)
            ids = [f"log-{at + n}" for n in range(lines)]
            body = "".join(f'{{"id":"{each}","message":"{message()} of {each}"}}\n' for each in ids).encode()
            url = f"{self.gate.addresses['ingest']}/?token={SHIPPING_TOKEN}&type=e2e"
            with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=10) as answer:
                self.assertEqual(answer.status, 200)
            self.told.update(ids)

    def metric(self, name):
        _, text = self.gate.get("ops", "/metrics")
        return int(re.search(rf"^{name} (\d+)$", text, re.MULTILINE)[1])

    def exported(self, gate):
        status, text = gate.get("api", "/v1/logs/export")
        self.assertEqual(status, 200, text)
        return Counter(json.loads(line)["id"] for line in text.splitlines())

    def found(self, gate):
        status, text = gate.get("api", "/v1/logs?limit=1000")
        self.assertEqual(status, 200, text)
        return json.loads(text)

    def sealed(self):
        return [file for file in self.gate.data.glob("logs/*/*.ndjson.zst") if file.name != "current.ndjson.zst"]

    def ship_files(self, count):
        before = self.metric("shipgate_objects_stored_files_total")

        def enough():
            self.ship(1)
            return self.metric("shipgate_objects_stored_files_total") >= before + count

        eventually(f"{count} more files are stored", enough)

    def test_a_long_file_goes_in_pieces(self):
        self.begin({"LOGS__FILE_BYTES_MAX": str(LONG_BYTES)})
        self.ship(LONG_BYTES // 400_000, lambda: base64.b64encode(os.urandom(300_000)).decode(), lines=2)
        eventually("a long file is stored", lambda: self.metric("shipgate_objects_stored_bytes_total") >= LONG_BYTES)
        eventually("no sealed file is left on the disk", lambda: not self.sealed())
        eventually("every line is found once", lambda: self.exported(self.gate) == self.told)
        say(f"{self.metric('shipgate_objects_stored_bytes_total')} bytes stored in {self.metric('shipgate_objects_stored_files_total')} files")
        self.assertEqual(self.gate.stop(), 0)

    def test_files_move_and_are_found_and_a_store_that_is_down_stops_nobody(self):
        tls = certificate(self.folder)
        self.begin({"LOGS__FILE_BYTES_MAX": "4000", "LOGS__OBJECT_STORE__CA_FILE": str(tls[0])}, tls)
        self.ship_files(5)
        eventually("no sealed file is left on the disk", lambda: not self.sealed())
        eventually("every line is found once", lambda: self.exported(self.gate) == self.told)
        self.assertFalse(self.found(self.gate)["partial"])
        say(f"{self.told.total()} lines, {self.metric('shipgate_objects_stored_files_total')} files stored")

        self.store.kill()
        self.ship(20)
        eventually("it is said", lambda: "the object store does not take log files" in self.gate.said())
        eventually("files wait", lambda: self.metric("shipgate_objects_waiting_bytes") > 0)
        newest = f"log-{len(self.told) - 1}"
        eventually("what is here is found", lambda: newest in json.dumps(self.found(self.gate)["logs"]))
        eventually("it is said that more is missing", lambda: self.found(self.gate)["partial"])
        self.gate.kill()

        self.store.start()
        self.gate.start()
        eventually("every line is found once again", lambda: self.exported(self.gate) == self.told, 90)
        eventually("no sealed file is left on the disk", lambda: not self.sealed(), 90)
        self.assertEqual(self.exported(self.gate), self.told)
        self.assertNotIn(SECRET, self.gate.said())
        self.assertEqual(self.gate.stop(), 0)

        alone = self.settings | {"CONTROL__GATEWAY_CREDENTIAL": "the-credential-of-all-e2e-gateways"}
        control = Shipgate(self.folder, alone, self.environment, ["control"])
        self.addCleanup(lambda: control.kill())
        exported = self.exported(control)
        self.assertTrue(exported and not exported - self.told, "it reads what is stored, each line once")
        say(f"a control plane alone finds {exported.total()} of {self.told.total()} lines, those that were sealed")
        self.assertEqual(control.stop(), 0)


if __name__ == "__main__":
    unittest.main()
