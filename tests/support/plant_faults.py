"""Which faults would the tests not notice? Plants them in copies of the library, one at a time, and runs the tests.

A sample of faults of each kind (wrong sign, factor ½, off by one, swapped arguments, dropped term, loosened tolerance)
in `models`, `flows` and `analysis`, without the room that draws: its faults are seen in the figures, not in numbers.
For each, the tests that run its line are tried first, then those of its own room, then the default test run, until one
fails. What survives is printed: it changes nothing that anybody could notice, or a test is missing.

Run: `pytest --cov --cov-context=test --cov-report=`, which writes down which test runs which lines, and then
`python tests/support/plant_faults.py [--each 20] [--seed 0] [--out faults.jsonl]`, for hours; the same command
continues where it was interrupted. `--near` leaves out the default test run.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import tyro

from faults import Fault, faults_in

ROOT = Path(__file__).parents[2]
FLOORS, DRAWS = ("models", "flows", "analysis"), "analysis/figures"
# Seconds after which a test run that takes a minute, or some ten, hangs.
HANGS = (900, 3600)
WHOLE = "tests"
# Of the tests that run a line, so many: those that run few other lines say most about it, and soonest.
CLOSEST = 40


def all_faults() -> list[Fault]:
    """The faults that can be planted in the floors, in the order of files and lines."""
    paths = sorted(path.relative_to(ROOT).as_posix() for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
    return [fault for path in paths if not path.startswith(DRAWS) for fault in faults_in(ROOT, path)]


def sample(each: int, seed: int) -> list[Fault]:
    """Some faults of each kind, in random order."""
    faults, chosen = all_faults(), []
    for kind in sorted({fault.kind for fault in faults}):
        chosen += random.Random(f"{seed} {kind}").sample([fault for fault in faults if fault.kind == kind], each)
    random.Random(seed).shuffle(chosen)
    return chosen


def rooms_tests(path: str) -> str | None:
    """The folder of tests of a file's room, if there is one."""
    for folder in Path(path).parents:
        if len(folder.parts) and (ROOT / "tests" / folder).is_dir():
            return f"tests/{folder.as_posix()}"
    return None


@contextmanager
def copies(number: int) -> Iterator[list[Path]]:
    """Copies of the repository that are imported as `saddlescope`, each in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for k in range(number):
            found.append(Path(folder) / str(k) / "saddlescope")
            ignored = shutil.ignore_patterns(".git", "__pycache__", ".*", "*.egg-info", "build", "dist")
            shutil.copytree(ROOT, found[-1], ignore=ignored)
        yield found


def tests_by_line(recorded: Path) -> dict[tuple[str, int], list[str]]:
    """The tests that run each line, those that run the fewest lines first.

    A function that is compiled runs as Python only for the first test that needs it. Tests that have been renamed or
    are slow by now are left out.
    """
    from coverage import CoverageData

    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0"]
    collected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    there = set(filter(None, collected))  # what runs on import runs in no test
    data, lines, sizes = CoverageData(str(recorded)), {}, Counter()
    data.read()
    for path in data.measured_files():
        for line, contexts in data.contexts_by_lineno(path).items():
            tests = [test for context in contexts if (test := context.rpartition("|")[0]) in there]
            lines[os.path.relpath(ROOT / path, ROOT), line] = tests
            sizes.update(tests)
    if not sizes:
        raise SystemExit(f"{recorded} tells of no line in {ROOT}: was another copy of the package imported?")
    return {place: sorted(set(tests), key=lambda test: sizes[test]) for place, tests in lines.items()}


def failing(copy: Path, tests: Sequence[str], hangs: int) -> str | None:
    """The first test that fails in a copy, or that it hangs; `None` where all pass."""
    environment = os.environ | {"PYTHONPATH": str(copy.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=hangs)
    except subprocess.TimeoutExpired:
        return "hangs"
    if "ERROR: " in done.stderr:
        # They were there without the fault.
        return f"no longer collects its tests: {done.stderr[-150:]}"
    said = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    # No test at all: all of a room may be slow.
    return None if done.returncode in (0, 5) else (said or done.stdout.splitlines()[-1:] or ["ended"])[0][:200]


def noticed(fault: Fault, copy: Path, closest: Sequence[str], *, near: bool) -> str | None:
    """What notices a fault, if anything does, or any of the tests near it."""
    path = copy / fault.path
    source = path.read_bytes()
    path.write_bytes(fault.planted(source))
    try:
        room = rooms_tests(fault.path)
        runs = [(closest, HANGS[0]), ([room] if room else [], HANGS[0]), ([] if near else [WHOLE], HANGS[1])]
        return next((by for tests, hangs in runs if tests and (by := failing(copy, tests, hangs))), None)
    finally:
        path.write_bytes(source)


def main(
    each: int = 20,
    seed: int = 0,
    out: Path = Path("faults.jsonl"),
    workers: int = 2,
    near: bool = False,
    recorded: Path = ROOT / ".coverage",
) -> None:
    """Plants the faults of a sample and reports.

    Args:
        each: faults of each kind.
        seed: of the sample.
        out: a file with a line for each fault that was tried; faults that stand in it are not tried again.
        workers: tests that run side by side.
        near: leave out the default test run where the tests near a fault do not notice it.
        recorded: which test runs which lines, by coverage; the file need not be there.
    """
    lines = out.read_text().splitlines() if out.exists() else []
    results = {(line["path"], line["start"], line["new"]): line for line in map(json.loads, lines)}
    chosen = sample(each, seed)
    left = [fault for fault in chosen if (fault.path, fault.start, fault.new) not in results]
    closest = tests_by_line(recorded) if recorded.exists() else {}
    lock = threading.Lock()
    with copies(workers) as free, ThreadPoolExecutor(workers) as pool:
        if clean := failing(free[0], ["tests/house/test_faults.py"], HANGS[0]):
            raise SystemExit(f"without any fault: {clean}")

        def attempt(fault: Fault) -> None:
            with lock:
                copy = free.pop()
            tests = closest.get((fault.path, fault.line), [])[:CLOSEST]
            result = asdict(fault) | {"noticed": noticed(fault, copy, tests, near=near)}
            with lock, out.open("a") as file:
                free.append(copy)
                file.write(json.dumps(result) + "\n")
                results[fault.path, fault.start, fault.new] = result
                print(f"{len(results)}/{len(chosen)} {fault}: {result['noticed'] or 'SURVIVES'}", flush=True)

        list(pool.map(attempt, left))
    tried = [(fault, results[fault.path, fault.start, fault.new]["noticed"]) for fault in chosen]
    survivors = [fault for fault, by in tried if by is None]
    print(f"\n{len(chosen) - len(survivors)} of {len(chosen)} faults were noticed; not these:", *survivors, sep="\n")


if __name__ == "__main__":
    tyro.cli(main)
