"""curl in every way it can send a body, batch after batch, while tokens come and go."""

import gzip
import re
import subprocess
import unittest
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from shipgate import WithChurn, eventually, say

BATCHES, LINES = 12, 50


class Curl(WithChurn):
    def post(self, token, body, *options):
        """Status and bytes of body that curl had to send."""
        file = self.folder / "body"
        file.write_bytes(body)
        command = ["curl", "--silent", "--show-error", "--max-time", "10", "--output", "/dev/null"]
        command += ["--write-out", "%{http_code} %{size_upload} %{http_version}", "--data-binary", f"@{file}", *options]
        url = f"{self.gate.addresses['ingest']}/?token={token}&type=curl"
        done = subprocess.run([*command, url], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        status, sent, version = done.stdout.split()
        return int(status), int(sent), version

    def ship(self, *options, pack=bytes, version="1.1"):
        told, refused = Counter(), Counter()
        for batch in range(BATCHES):
            if batch == BATCHES // 3:
                self.gate.enable(self.toggled, False)
                self.gate.delete(self.doomed)
                self.wait_for(self.toggled, 401)
                self.wait_for(self.doomed, 401)
            if batch == 2 * BATCHES // 3:
                self.gate.enable(self.toggled, True)
                self.wait_for(self.toggled, 200)
            off = [None, BATCHES // 3 <= batch < 2 * BATCHES // 3, batch >= BATCHES // 3]
            for at, token in enumerate(self.tokens):
                ids = [f"curl-{at}-{batch}-{line}" for line in range(LINES)]
                body = "".join(f'{{"id":"{each}","message":"a log"}}\n' for each in ids).encode()
                status, _, spoken = self.post(token, pack(body), *options)
                self.assertEqual(spoken, version)
                self.assertEqual(status, 401 if off[at] else 200, f"batch {batch}, token {at}")
                (refused if off[at] else told).update(ids)
        say(f"{told.total()} lines accepted, {refused.total()} refused")
        self.reckon(told)

    def wait_for(self, token, status):
        eventually(f"{token['name']} gets {status}", lambda: self.post(token["token"], b"")[0] == status, 1)

    def test_plain(self):
        self.ship()

    def test_gzip(self):
        self.ship("-H", "Content-Encoding: gzip", pack=gzip.compress)

    def test_chunked(self):
        self.ship("-H", "Transfer-Encoding: chunked")

    def test_gzip_chunked(self):
        self.ship("-H", "Transfer-Encoding: chunked", "-H", "Content-Encoding: gzip", pack=gzip.compress)

    def test_http2_prior_knowledge(self):
        self.ship("--http2-prior-knowledge", version="2")

    def test_expect_continue(self):
        # Had the gate not said 100, curl would wait longer than it may take at all.
        self.ship("-H", "Expect: 100-continue", "--expect100-timeout", "20")

    def test_a_token_disabled_while_its_body_arrives_is_refused(self):
        body = b'{"id":"too late"}\n' * 20_000
        with ThreadPoolExecutor() as pool:
            # About four seconds on the way.
            posted = pool.submit(self.post, self.toggled["token"], body, "--limit-rate", "100K")
            eventually("it arrives", self.body_arrives)
            self.gate.enable(self.toggled, False)
            self.assertFalse(posted.done(), "the body was there before the change")
            self.assertEqual(posted.result()[0], 401)
        self.reckon(Counter())

    def body_arrives(self):
        _, text = self.gate.get("ops", "/metrics")
        return re.search(r"^shipgate_gateway_in_flight_bytes [1-9]", text, re.MULTILINE)

    def test_a_refused_token_is_refused_before_the_body(self):
        options = ("-H", "Expect: 100-continue", "--expect100-timeout", "20")
        status, sent, _ = self.post("x" * 32, b'{"id":"unheard"}\n' * 1000, *options)
        self.assertEqual((status, sent), (401, 0))
        self.reckon(Counter())


if __name__ == "__main__":
    unittest.main()
