"""What a scraper reads from a running server."""

import subprocess
import unittest

from shipgate import SHIPPING_TOKEN, WithShipgate


class Metrics(WithShipgate):
    def test_promtool_has_nothing_to_say(self):
        body = {"id": "one", "message": "a log"}
        self.assertEqual(self.gate.ask("ingest", "POST", f"/?token={SHIPPING_TOKEN}", body)[0], 200)
        self.assertEqual(self.gate.ask("ingest", "POST", "/?token=unknown", body)[0], 401)
        status, text = self.gate.get("ops", "/metrics")
        self.assertEqual(status, 200)
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, ""))
        for token in [SHIPPING_TOKEN, *self.tokens]:
            self.assertNotIn(token, text)


if __name__ == "__main__":
    unittest.main()
