"""The commands of README.md, run in their order in an empty folder, and those of the guides in docs/.

Run are the blocks marked `sh`; those marked `sh no-run` are only shown. Four things differ from what a reader does:
the debug binary stands in for `cargo run --release`, whose build would take minutes; ports are free ones, put in the place
of the defaults; scripts of the project are found from that folder; and where the reader is to paste a printed token, written as `…`, it is pasted.
"""

import re
import subprocess
import tempfile
import unittest

from shipgate import API_TOKEN, BINARY, KNOWN_TOKENS, PORTS, ROOT, SHIPPING_TOKEN, Shipgate, say

START = "cargo run --release"
DEFAULTS = {"ingest": "127.0.0.1:8070", "api": "127.0.0.1:8072", "ops": "127.0.0.1:8073"}

# An answer that is no success fails the command, unlike in a reader's terminal.
SETUP = f"""
set -euo pipefail
cargo() {{ [ "$1 $2 ${{3:-}}" = "run --release --" ] && shift 3 && {BINARY} "$@"; }}
shipgate() {{ {BINARY} "$@"; }}
curl() {{ command curl --fail-with-body --max-time 10 "$@"; }}
config/try-two-planes() {{ SHIPGATE={BINARY} {ROOT}/config/try-two-planes "$@"; }}
set -v
"""

# What is there when somebody reads a guide, and whether its blocks are one session or each begins anew.
GUIDES = {
    "search.md": (f"curl 'http://127.0.0.1:8070/?token={SHIPPING_TOKEN}' -d '{{\"level\":\"error\",\"took\":900}}'", True),
    "sharing.md": ("", False),
    "tokens.md": (
        'shipgate token create "apac prod" && shipgate token create "old one"\n'
        "echo a-value-that-shippers-have >value.txt && VALUE=another-value-they-have",
        False,
    ),
}


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

    def test_the_commands_of_the_guides_work(self):
        for guide, (before, is_one_session) in GUIDES.items():
            blocks = commands((ROOT / "docs" / guide).read_text())
            self.assertTrue(blocks, guide)
            for block in ["\n".join(blocks)] if is_one_session else blocks:
                with self.subTest(guide=guide, block=block), tempfile.TemporaryDirectory(prefix="shipgate-docs-") as folder:
                    self.gate = Shipgate(folder, PORTS | KNOWN_TOKENS)
                    try:
                        self.run_in(folder, [before, block], {"SHIPGATE_API_TOKEN": API_TOKEN, "API_TOKEN": API_TOKEN})
                    finally:
                        self.gate.kill()
            say(f"{guide}: {len(blocks)} blocks of commands")

    def run_in(self, folder, lines, more={}):
        script = "\n".join(lines)
        for door, address in DEFAULTS.items():
            script = script.replace(address, self.gate.addresses[door].removeprefix("http://"))
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "SHIPGATE_URL": self.gate.addresses["api"], **more}
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
