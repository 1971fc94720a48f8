"""Run every foreign program that is to be had here; write docs/counterparts.json.

    make counterparts                     all of them
    make counterparts ARGS="openssl"      these alone; nothing is written

Exit 1 if one that ran disagrees, or was to be run by name and could not.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from counterparts import readers, witnesses
from counterparts.environments import ROOT, DisagreementError, NotRunError, say, sources

DATA: Final = ROOT / "docs" / "counterparts.json"
FORMAT: Final = "blindmatch-counterparts"
Compare = Callable[[], tuple[str, str]]
"""Compares with one program: its version, and what was compared; `NotRunError`, or `DisagreementError`."""

PROGRAMS: Final[Mapping[str, tuple[str, Compare]]] = {
    "aics-witness": ("witness of the log", witnesses.aics_witness),
    "litewitness": ("witness of the log", witnesses.litewitness),
    "threatexchange": ("list and pictures", readers.threatexchange),
    "pdqhash": ("PDQ", readers.pdqhash),
    "libsignal": ("safety numbers, XEdDSA", readers.libsignal),
    "voprf": ("OPRF (RFC 9497)", readers.voprf_python),
    "noble-curves": ("OPRF (RFC 9497)", readers.voprf_node),
    "node-device": ("wire, sets, log, endorsements (our own, in JavaScript)", readers.node_device),
    "promtool": ("metrics", readers.promtool),
    "openssl": ("certificates, signatures", readers.openssl),
}


def row_of(name: str, what: str, compare: Compare) -> dict[str, Any]:
    """Run one; a program that ran and broke off disagrees, whatever the reason."""
    say(f"{name}:")
    row: dict[str, Any] = {"program": name, "what": what, "version": "", "verdict": "agrees", "said": ""}
    try:
        row["version"], row["said"] = compare()
    except NotRunError as error:
        row |= {"verdict": "not run", "said": str(error)}
    except DisagreementError as error:
        row |= {"verdict": "disagrees", "said": str(error)}
    except Exception as error:
        traceback.print_exc()
        row |= {"verdict": "disagrees", "said": f"broke off: {type(error).__name__}: {error}"[:300]}
    say(f"  {row['verdict']}{row['version'] and ', version ' + row['version']}: {row['said']}")
    return row


def main(arguments: Sequence[str], programs: Mapping[str, tuple[str, Compare]] = PROGRAMS) -> int:
    if unknown := set(arguments) - programs.keys():
        say(f"no such program: {', '.join(sorted(unknown))}; there are {', '.join(programs)}")
        return 2
    rows = [row_of(name, *programs[name]) for name in programs if not arguments or name in arguments]
    if not arguments:
        held = {"format": FORMAT, "version": 2, "of": sources(), "rows": rows}
        DATA.write_text(json.dumps(held, indent=2, ensure_ascii=False) + "\n")
        say(f"written: {DATA.relative_to(ROOT)}; make pages draws it")
    verdicts = [row["verdict"] for row in rows]
    say(", ".join(f"{verdicts.count(one)} {one}" for one in ("agrees", "disagrees", "not run")))
    return int("disagrees" in verdicts or (bool(arguments) and "not run" in verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
