"""Checks that everything linked into Shipgate has a licence and a source that deny.toml allows.

Reads `cargo tree --prefix none --format '{p}|{l}'` on stdin. What `cargo deny check licenses bans sources` does, with
nothing to build first.
"""

import re
import sys
import tomllib
from pathlib import Path

POLICY = tomllib.loads((Path(__file__).parent.parent / "deny.toml").read_text())


def allows(expression, allowed):
    """Whether an SPDX expression can be met: `MIT OR (Apache-2.0 AND ISC)`; `/` is an old `OR`."""
    tokens = re.findall(r"[()]|[^\s()/]+|/", expression)
    tokens = ["OR" if token == "/" else token for token in tokens]

    def any_of():
        met = all_of()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            met = all_of() or met
        return met

    def all_of():
        met = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = one() and met
        return met

    def one():
        token = tokens.pop(0)
        if token == "(":
            met = any_of()
            tokens.pop(0)
            return met
        if tokens and tokens[0] == "WITH":
            token = f"{token} WITH {tokens[1]}"
            del tokens[:2]
        return token in allowed

    return any_of()


def self_test():
    for expression, expect in [
        ("MIT", True),
        ("GPL-3.0", False),
        ("GPL-3.0 OR MIT", True),
        ("GPL-3.0/MIT", True),
        ("MIT AND GPL-3.0", False),
        ("(MIT OR GPL-3.0) AND ISC", True),
        ("GPL-3.0 OR MIT AND GPL-2.0", False),
        ("MIT WITH LLVM-exception", False),
    ]:
        assert allows(expression, {"MIT", "ISC"}) is expect, expression


def findings(packages):
    allowed = set(POLICY["licenses"]["allow"])
    banned = {ban["name"]: ban["reason"] for ban in POLICY["bans"]["deny"]}
    for package, licence in packages:
        name, version, *source = package.split(" ")
        if not allows(licence or "none", allowed):
            yield f"{name} {version}: licence {licence or 'not given'}"
        if source and source != ["(proc-macro)"] and name != "shipgate":
            yield f"{name} {version}: comes from {' '.join(source)}, not from the registry"
        if name in banned:
            yield f"{name} {version}: {banned[name]}"


self_test()
tree = {tuple(line.removesuffix(" (*)").split("|")) for line in sys.stdin.read().splitlines() if line}
found = list(findings(sorted(tree)))
print("\n".join(found) or f"{len(tree)} packages, all allowed")
sys.exit(bool(found) or len(tree) < 2)
