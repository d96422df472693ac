"""The console in a headless Chromium: each scenario of console/ at a Shipgate of its own."""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from shipgate import PORTS, TOOLS, Shipgate

SCENARIOS = Path(__file__).parent / "console"
SCREENSHOTS = TOOLS / "screenshots"
SECONDS_MAX = 1800


class Console(unittest.TestCase):
    def play(self, scenario):
        with tempfile.TemporaryDirectory(prefix="shipgate-e2e-") as folder:
            gate = Shipgate(folder, PORTS | {"BOOTSTRAP__PLAN": "pro", "BOOTSTRAP__ACCOUNT": "Acme"})
            try:
                played = subprocess.run(
                    ["node", SCENARIOS / f"{scenario}.js"],
                    env=os.environ
                    | {
                        "NODE_PATH": str(TOOLS / "node_modules"),
                        "PYTHON": str(TOOLS / "venv" / "bin" / "python"),
                        "CONSOLE": gate.addresses["api"],
                        "INGEST": gate.addresses["ingest"],
                        "SETUP_LINK": re.search(r"http\S+#/setup\?token=\S+", gate.said())[0],
                        "SCREENSHOTS": str(SCREENSHOTS),
                    },
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    timeout=SECONDS_MAX,
                )
                print(played.stdout, end="", flush=True)
                self.assertEqual(played.returncode, 0, gate.said()[-4000:])
                self.assertEqual(gate.stop(), 0, "it did not end in good order")
            finally:
                gate.kill()

    def test_tokens_while_a_shipper_ships(self):
        self.play("tokens")

    def test_sharing_a_filtered_view(self):
        self.play("sharing")

    def test_people_and_roles(self):
        self.play("people")

    def test_what_is_pasted_arrives(self):
        self.play("send")

    def test_without_a_mouse(self):
        self.play("keyboard")

    def test_whatever_is_in_a_log_and_in_an_address(self):
        self.play("hostile")

    def test_whatever_is_slow(self):
        self.play("slow")

    def test_every_page_in_light_and_dark_on_desk_and_phone(self):
        self.play("tour")


if __name__ == "__main__":
    unittest.main()
