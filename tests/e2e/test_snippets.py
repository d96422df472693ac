"""What the console says to paste into shippers, as its own code makes it: run where the program can be had, else read by a parser of its language.

Run here are rsyslog and syslog-ng; console/send.js pastes into curl, Python and Node.js. Filebeat, Fluent Bit, Logstash, Vector and the OpenTelemetry
Collector are in no registry that a test should trust: their texts are parsed, and what they say is compared with what is meant. Fluentd's language has
no parser to be had: of its text only the sections are looked at.
"""

import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from shipgate import ROOT, SHIPPING_TOKEN, TOOLS, WithShipgate, end, eventually
from test_shippers import start_syslog_ng

CLIENTS = Path(__file__).parent / "clients"
MODULE = ROOT / "src/control/console/assets/pages/snippets.js"
RSYSLOG = TOOLS / "rsyslog"
HELLO = 'hello "quoted" \\ and üñ'


def snippets(folder, listener):
    """Of each shipper the texts to paste, with this listener and a token filled in."""
    module = Path(folder) / "snippets.mjs"
    module.write_text(MODULE.read_text())
    command = ["node", CLIENTS / "snippets.mjs", module, listener, SHIPPING_TOKEN, "app"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


class Pasted(WithShipgate):
    """Daemons that are configured by nothing else, but for where they read."""

    def setUp(self):
        super().setUp()
        self.texts = snippets(self.folder, self.gate.addresses["ingest"])
        self.input = self.folder / "input.log"

    def arrives(self, **expect):
        """The only log that arrives has these fields, and the pasted type."""
        what = lambda: json.loads(self.gate.get("api", "/v1/logs")[1])["logs"]
        try:
            (found,) = eventually("a log arrives", what)
        except AssertionError:
            print((self.folder / "client.log").read_text())
            raise
        log = found["log"]
        self.assertEqual({name: log[name] for name in expect}, expect, log)
        self.assertEqual(log["type"], "app")
        self.assertRegex(log["@timestamp"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d")

    @unittest.skipUnless((RSYSLOG / "omhttp").exists(), "rsyslog's omhttp could not be built here")
    def test_rsyslog(self):
        (text,) = self.texts["rsyslog"]
        self.input.write_text(f"{HELLO}\n")
        (self.folder / "90-shipgate.conf").write_text(text)
        config = self.folder / "rsyslog.conf"
        config.write_text(
            f'global(workDirectory="{self.folder}")\nmodule(load="imfile")\n'
            f'input(type="imfile" file="{self.input}" tag="shop:")\ninclude(file="{self.folder}/90-shipgate.conf")\n'
        )
        (libraries,) = RSYSLOG.glob("usr/lib/*-linux-gnu")
        command = [RSYSLOG / "usr/sbin/rsyslogd", "-n", "-f", config, "-i", self.folder / "rsyslog.pid"]
        command += ["-M", f"{libraries}/rsyslog"]
        environment = os.environ | {"LD_LIBRARY_PATH": str(libraries)}
        with open(self.folder / "client.log", "wb") as log:
            daemon = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.arrives(program="shop", severity="notice", message=HELLO)
        finally:
            end(daemon)

    def test_syslog_ng(self):
        (text,) = self.texts["syslog-ng"]
        self.input.write_text(f"<11>Jan 31 12:34:56 web-1 shop[7]: {HELLO}\n")
        config = self.folder / "syslog-ng.conf"
        config.write_text(f'@version: 3.38\nsource s_src {{ file("{self.input}" follow-freq(0.05)); }};\n{text}\n')
        daemon = start_syslog_ng(config, self.folder)
        try:
            self.arrives(program="shop", level="err", message=HELLO)
        finally:
            end(daemon)


class Read(unittest.TestCase):
    """Texts whose programs are not here, over plain HTTP and over TLS."""

    LISTENERS = {"http://logs.example.com:8070": (8070, False), "https://logs.example.com": (443, True)}

    def parsed(self, language, text):
        python = TOOLS / "venv" / "bin" / "python"
        done = subprocess.run([python, CLIENTS / "parse.py", language], input=text, text=True, capture_output=True)
        self.assertEqual(done.returncode, 0, f"{text}\n{done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def each(self, name):
        with tempfile.TemporaryDirectory(prefix="shipgate-e2e-") as folder:
            for listener, (port, tls) in self.LISTENERS.items():
                with self.subTest(listener=listener):
                    yield snippets(folder, listener)[name], listener, port, tls

    def posts_by_logstash(self, text, input, listener):
        (_, inputs), (_, outputs) = self.parsed("logstash", text)
        self.assertEqual(inputs[0][0], input)
        ((kind, settings),) = outputs
        settings = {key: value for key, (value,) in settings}
        self.assertEqual(kind, "http")
        self.assertEqual(settings["url"], f"{listener}/?token={SHIPPING_TOKEN}&type=app")
        self.assertEqual((settings["http_method"], settings["format"]), ("post", "json"))

    def posts_by_fluent_bit(self, text, input, port, tls):
        pipeline = self.parsed("yaml", text)["pipeline"]
        self.assertEqual([each["name"] for each in pipeline["inputs"]], [input])
        (output,) = pipeline["outputs"]
        expect = {"name": "http", "match": "*", "host": "logs.example.com", "port": port, "tls": tls, "format": "json_lines"}
        self.assertEqual({key: output[key] for key in expect}, expect)
        self.assertEqual(output["uri"], f"/?token={SHIPPING_TOKEN}&type=app")

    def test_filebeat(self):
        for (filebeat, logstash), listener, _, _ in self.each("Filebeat"):
            config = self.parsed("yaml", filebeat)
            self.assertEqual(config["filebeat.inputs"][0]["type"], "filestream")
            self.assertEqual(config["output.logstash"], {"hosts": ["127.0.0.1:5044"]})
            self.posts_by_logstash(logstash, "beats", listener)

    def test_logstash(self):
        for (text,), listener, _, _ in self.each("Logstash"):
            self.posts_by_logstash(text, "file", listener)

    def test_fluent_bit(self):
        for (text,), _, port, tls in self.each("Fluent Bit"):
            self.posts_by_fluent_bit(text, "tail", port, tls)

    def test_opentelemetry_collector(self):
        for (collector, fluent_bit), _, port, tls in self.each("OpenTelemetry Collector"):
            config = self.parsed("yaml", collector)
            (pipeline,) = config["service"]["pipelines"].values()
            self.assertLessEqual(set(pipeline["receivers"]), set(config["receivers"]))
            self.assertEqual(pipeline["exporters"], list(config["exporters"]))
            self.posts_by_fluent_bit(fluent_bit, "opentelemetry", port, tls)
            beside = self.parsed("yaml", fluent_bit)["pipeline"]["inputs"][0]
            self.assertEqual(config["exporters"]["otlphttp"]["endpoint"], f"http://{beside['listen']}:{beside['port']}")

    def test_vector(self):
        for (text,), listener, _, _ in self.each("Vector"):
            config = self.parsed("yaml", text)
            sink = config["sinks"]["shipgate"]
            self.assertEqual(sink["inputs"], list(config["sources"]))
            self.assertEqual((sink["uri"], sink["auth"]["token"]), (f"{listener}/?type=app", SHIPPING_TOKEN))
            self.assertEqual((sink["encoding"]["codec"], sink["framing"]["method"]), ("json", "newline_delimited"))

    def test_fluentd(self):
        for (text,), listener, _, _ in self.each("Fluentd"):
            open_sections = []
            for line in text.splitlines():
                begun, ended = re.match(r" *<(\w+)[^>]*>$", line), re.match(r" *</(\w+)>$", line)
                if begun:
                    open_sections.append(begun[1])
                elif ended:
                    self.assertEqual(open_sections.pop(), ended[1])
                else:
                    self.assertRegex(line, r"^$|^ +@?\w+ \S")
            self.assertEqual(open_sections, [])
            self.assertIn(f"\n  endpoint {listener}/?token={SHIPPING_TOKEN}&type=app\n", text)


if __name__ == "__main__":
    unittest.main()
