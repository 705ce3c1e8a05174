"""Which faults would the tests not notice? Plants them in copies of the library, one at a time, and runs the tests.

A sample of faults of each kind (wrong sign, factor ½, off by one, swapped arguments, dropped term, loosened tolerance)
in `models`, `flows` and `analysis`, without the room that draws: its faults are seen in the figures, not in numbers.
For each, the tests of the fault's own room run first, then the default test run, until one fails. What survives is
printed: it changes nothing that anybody could notice, or a test is missing.

Run: `python tests/support/plant_faults.py [--each 20] [--seed 0] [--out faults.jsonl]`, for hours; the same command
continues where it was interrupted.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
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


def failing(copy: Path, tests: str, hangs: int) -> str | None:
    """The first test that fails in a copy, or that it hangs; `None` where all pass."""
    environment = os.environ | {"PYTHONPATH": str(copy.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", tests]
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=hangs)
    except subprocess.TimeoutExpired:
        return "hangs"
    said = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return None if done.returncode == 0 else (said or done.stdout.splitlines()[-1:] or ["ended"])[0][:200]


def noticed(fault: Fault, copy: Path) -> str | None:
    """What notices a fault, if anything does."""
    path = copy / fault.path
    source = path.read_bytes()
    path.write_bytes(fault.planted(source))
    try:
        near = rooms_tests(fault.path)
        return (near and failing(copy, near, HANGS[0])) or failing(copy, WHOLE, HANGS[1])
    finally:
        path.write_bytes(source)


def main(each: int = 20, seed: int = 0, out: Path = Path("faults.jsonl"), workers: int = 2) -> None:
    """Plants the faults of a sample and reports.

    Args:
        each: faults of each kind.
        seed: of the sample.
        out: a file with a line for each fault that was tried; faults that stand in it are not tried again.
        workers: tests that run side by side.
    """
    lines = out.read_text().splitlines() if out.exists() else []
    results = {(line["path"], line["start"], line["new"]): line for line in map(json.loads, lines)}
    chosen = sample(each, seed)
    left = [fault for fault in chosen if (fault.path, fault.start, fault.new) not in results]
    lock = threading.Lock()
    with copies(workers) as free, ThreadPoolExecutor(workers) as pool:
        if clean := failing(free[0], "tests/house", HANGS[0]):
            raise SystemExit(f"without any fault: {clean}")

        def attempt(fault: Fault) -> None:
            with lock:
                copy = free.pop()
            result = asdict(fault) | {"noticed": noticed(fault, copy)}
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
