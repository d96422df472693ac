"""What operators ask a running server: metrics and health."""

import os
import subprocess
import unittest

from shipgate import BINARY, SHIPPING_TOKEN, WithChurn


class Operations(WithChurn):
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

    def test_healthcheck_says_whether_it_is_ready(self):
        environment = os.environ | {"SHIPGATE__OPS__HTTP": self.gate.addresses["ops"].removeprefix("http://")}
        healthcheck = lambda: subprocess.run([BINARY, "healthcheck"], env=environment, capture_output=True).returncode
        self.assertEqual(healthcheck(), 0)
        self.churn.stop()
        self.assertEqual(self.gate.stop(), 0)
        self.assertEqual(healthcheck(), 1)


if __name__ == "__main__":
    unittest.main()
