"""Runs drawn cases of hard use, writes each to a file, and prints those that break a law.

python tests/support/fuzz.py [--cases 2000] [--seed 0] [--kind flow|mistake|file|command] [--record fuzz.jsonl]

A case is a kind and a seed. Those in the record are not run again; one that was begun and has not ended hung or killed
its process.
"""

import argparse
import collections
import json
import subprocess
import sys
from pathlib import Path

from unoptimised import set_flags

ROOT = Path(__file__).parent
# Of ten cases: flows cost a second each, the others some milliseconds.
KINDS = ("flow", "flow", "flow", "flow", "mistake", "mistake", "mistake", "file", "file", "command")
# Cases of one process, which so holds few compiled programs; seconds after which one counts as hung.
BATCH, HUNG = 100, 180


def kind_of(number: int) -> str:
    """Which kind of case a number is."""
    return KINDS[number % len(KINDS)]


def read(record: Path) -> dict[str, dict]:
    """The last entry of each case."""
    lines = record.read_text().splitlines() if record.exists() else []
    return {entry["case"]: entry for entry in map(json.loads, lines)}


def lacking(cases: list[str], record: Path) -> list[str]:
    """The cases that a record does not have."""
    done = read(record)
    return [case for case in cases if case not in done]


def run(cases: list[str], record: Path) -> None:
    """Runs cases in this process, each written before and after."""
    set_flags()
    import faulthandler
    import tempfile

    import jax

    jax.config.update("jax_enable_x64", True)
    from saddlescope.flows import keep_compiled

    from fuzzing.cases import outcome

    keep_compiled()
    with open(record, "a") as file, tempfile.TemporaryDirectory() as folder:
        for case in cases:
            kind, seed = case.split()
            print(json.dumps({"case": case, "ended": "not"}), file=file, flush=True)
            faulthandler.dump_traceback_later(HUNG, exit=True)
            entry = {"case": case, **outcome(kind, int(seed), Path(folder))}
            faulthandler.cancel_dump_traceback_later()
            print(json.dumps(entry), file=file, flush=True)
            if entry["ended"] == "broken":
                print(f"{case}: {entry['said']}", flush=True)


def main() -> int:
    """Runs what the record lacks, in batches; the exit status says whether all laws hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--kind", choices=sorted(set(KINDS)))
    parser.add_argument("--record", type=Path, default=Path("fuzz.jsonl"))
    parser.add_argument("--batch", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.batch is not None:
        run(options.batch, options.record)
        return 0
    numbers = range(options.seed, options.seed + options.cases)
    cases = [f"{options.kind or kind_of(number)} {number}" for number in numbers]
    while missing := lacking(cases, options.record):
        words = [sys.executable, __file__, "--record", str(options.record), "--batch", *missing[:BATCH]]
        subprocess.run(words, check=False)
    asked = set(cases)
    entries = [entry for case, entry in read(options.record).items() if case in asked]
    counts = collections.Counter(f"{entry['case'].split()[0]}: {entry['ended']}" for entry in entries)
    print("\n".join(f"{count:6d} {name}" for name, count in sorted(counts.items())))
    bad = [entry for entry in entries if entry["ended"] in ("broken", "not")]
    for entry in bad:
        print(f"{entry['case']}: {entry.get('said', 'hung, or ended its process')}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
