"""The commands of README.md, run in their order in an empty folder.

Run are the blocks marked `sh`; those marked `sh no-run` are only shown. Four things differ from what a reader does:
the debug binary stands in for `cargo run --release`, whose build would take minutes; ports are free ones, put in the place
of the defaults; scripts of the project are found from that folder; and where the reader is to paste a printed token, written as `…`, it is pasted.
"""

import re
import subprocess
import tempfile
import unittest

from shipgate import BINARY, PORTS, ROOT, Shipgate, say

START = "cargo run --release"
DEFAULTS = {"ingest": "127.0.0.1:8070", "api": "127.0.0.1:8072", "ops": "127.0.0.1:8073"}

# An answer that is no success fails the command, unlike in a reader's terminal.
SETUP = f"""
set -euo pipefail
cargo() {{ [ "$1 $2 ${{3:-}}" = "run --release --" ] && shift 3 && {BINARY} "$@"; }}
curl() {{ command curl --fail-with-body --max-time 10 "$@"; }}
config/try-two-planes() {{ SHIPGATE={BINARY} {ROOT}/config/try-two-planes "$@"; }}
set -v
"""


def commands(text):
    """The blocks marked `sh`."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def pasted(line, said):
    """A line with a printed token where it says `…`."""
    wanted = re.search(r"(SHIPPING|API)_TOKEN=…", line)
    if not wanted:
        return line
    printed = re.search(rf"{wanted[1]} token\s+(\S+)", said, re.IGNORECASE)
    return line.replace("…", printed[1])


class Readme(unittest.TestCase):
    def test_its_commands_work_in_their_order(self):
        blocks = commands((ROOT / "README.md").read_text())
        self.assertEqual(blocks[0].strip(), START, "the first command starts everything")
        with tempfile.TemporaryDirectory(prefix="shipgate-readme-") as folder:
            self.gate = Shipgate(folder, PORTS)
            try:
                said = self.gate.said()
                printed = [line.strip() for line in said.splitlines() if line.strip().startswith("curl ")]
                self.assertEqual(len(printed), 2, said)
                self.run_in(folder, printed)
                self.run_in(folder, [pasted(line, said) for block in blocks[1:] for line in block.splitlines()])
            finally:
                ended = self.gate.stop()
            self.assertEqual(ended, 0)
        say(f"{len(printed)} printed commands and {len(blocks)} blocks of commands")

    def run_in(self, folder, lines):
        script = "\n".join(lines)
        for door, address in DEFAULTS.items():
            script = script.replace(address, self.gate.addresses[door].removeprefix("http://"))
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "SHIPGATE_URL": self.gate.addresses["api"]}
        done = subprocess.run(
            ["bash", "-c", SETUP + script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        )
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_finds_the_blocks_to_run(self):
        text = "a\n```sh\none\n```\n```sh no-run\ntwo\n```\n```\nthree\n```\n```sh\nfour\nfive\n```\n"
        self.assertEqual(commands(text), ["one\n", "four\nfive\n"])

    def test_pastes_what_was_printed(self):
        said = "  shipping token  abc\n  API token       def\n"
        self.assertEqual(pasted("export SHIPPING_TOKEN=…  # here", said), "export SHIPPING_TOKEN=abc  # here")
        self.assertEqual(pasted("export SHIPGATE_API_TOKEN=…", said), "export SHIPGATE_API_TOKEN=def")
        self.assertEqual(pasted("echo …", said), "echo …")


if __name__ == "__main__":
    unittest.main()
