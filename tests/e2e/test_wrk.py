"""wrk at full speed while tokens change, while the gate stops, and while it is killed."""

import subprocess
import time
import unittest
from collections import Counter
from pathlib import Path

from shipgate import WithChurn, say

SCRIPT = Path(__file__).parent / "clients" / "wrk.lua"
CONNECTIONS = 9
LINES_A_BATCH = 10
LINES_MIN = 2000


class Wrk(WithChurn):
    def start(self, seconds):
        self.books = self.folder / "books"
        self.books.mkdir()
        command = ["wrk", f"-t{CONNECTIONS}", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s"]
        command += ["-s", SCRIPT, self.gate.addresses["ingest"], "--", self.books, *self.tokens]
        with open(self.folder / "client.log", "wb") as log:
            self.wrk = subprocess.Popen(command, stdout=log, stderr=log)
        self.addCleanup(self.end)

    def end(self):
        try:
            return self.wrk.wait(60)
        finally:
            self.wrk.kill()
            self.wrk.wait()

    def read_books(self):
        """`told` and `unanswered`, and the statuses that each token saw."""
        told, unanswered = Counter(), Counter()
        statuses = [Counter(), Counter(), Counter()]
        for book in self.books.glob("*.txt"):
            thread = int(book.stem)
            for line in book.read_text().splitlines():
                kind, batch, *status = line.split()
                ids = [f"wrk-{thread}-{batch}-{line}" for line in range(1, LINES_A_BATCH + 1)]
                if kind == "sent":
                    unanswered.update(ids)
                else:
                    unanswered.subtract(ids)
                    statuses[thread % 3][status[0]] += 1
                    if status == ["200"]:
                        told.update(ids)
        say(f"statuses by token: {[dict(each) for each in statuses]}")
        return told, +unanswered, statuses

    def test_while_tokens_change(self):
        self.start(seconds=6)
        time.sleep(1.5)
        self.gate.enable(self.toggled, False)
        self.gate.delete(self.doomed)
        time.sleep(1.5)
        self.gate.enable(self.toggled, True)
        self.assertEqual(self.end(), 0)
        told, unanswered, (steady, toggled, doomed) = self.read_books()
        self.assertGreaterEqual(told.total(), LINES_MIN)
        self.assertEqual(set(steady), {"200"})
        self.assertEqual(set(toggled), {"200", "401"})
        self.assertEqual(set(doomed), {"200", "401"})
        self.reckon(told, unanswered)

    def test_a_stop_under_load_answers_what_it_stores(self):
        self.start(seconds=4)
        time.sleep(2)
        self.churn.stop()
        self.assertEqual(self.gate.stop(), 0)
        self.assertEqual(self.end(), 0)
        told, _, _ = self.read_books()
        self.assertGreaterEqual(told.total(), LINES_MIN)
        self.gate.start()
        self.reckon(told)

    def test_what_was_accepted_survives_sigkill(self):
        self.start(seconds=4)
        time.sleep(2)
        self.churn.stop()
        self.gate.kill()
        self.assertEqual(self.end(), 0)
        told, unanswered, _ = self.read_books()
        self.assertGreaterEqual(told.total(), LINES_MIN)
        self.gate.start()
        self.reckon(told, unanswered)


if __name__ == "__main__":
    unittest.main()
