"""Judges the known points whose name contains all given words, and says what is wrong.

python tests/support/known_points/judge.py [--wrong] [--networks] [word …]
"""

import collections
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

from unoptimised import set_flags  # noqa: E402

set_flags()

import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)

from saddlescope.flows import keep_compiled  # noqa: E402

from known_points.family import family  # noqa: E402
from known_points.record import Judgement, KnownPoint, Truth, acceptable, judge  # noqa: E402


def words(truth: Truth) -> str:
    return f"{truth.name}, order {truth.order}, index {truth.index}, nullity {truth.nullity}"


def failed(error: Exception) -> Judgement:
    """An exception counts as a wrong answer."""
    return Judgement(Truth("error", None, 0, None), f"wrong: {type(error).__name__}", str(error))


def judged(case: KnownPoint) -> Judgement:
    try:
        return judge(case)
    except Exception as error:
        return failed(error)


def main(arguments: list[str]) -> None:
    wrong_only = "--wrong" in arguments
    wanted = [word for word in arguments if not word.startswith("--")]
    keep_compiled()
    cases = [case for case in family() if all(word in case.name for word in wanted)]
    if "--networks" in arguments:
        cases = [case for case in cases if "[" not in case.name]
    counts, resolved, low, begun = collections.Counter(), 0, 0, time.time()
    for case in cases:
        started = time.time()
        said = judged(case)
        counts[said.verdict] += 1
        good = acceptable(said, case)
        low += not case.open
        resolved += not case.open and said.verdict != "undetermined"
        if good and wrong_only:
            continue
        mark = "  " if good else "? " if said.verdict == "undetermined" else "! "
        print(f"{mark}{said.verdict:26} {time.time() - started:5.2f} s  {case.name}")
        if not good:
            print(f"      truth {words(case.truth)}: {case.source}\n      said  {words(said.said)}: {said.evidence}")
    print(f"\n{len(cases)} points in {time.time() - begun:.0f} s")
    for verdict, count in counts.most_common():
        print(f"{count:5} {verdict}")
    print(f"of {low} points that can be decided, {low - resolved} undetermined ({1 - resolved / max(low, 1):.1%})")


if __name__ == "__main__":
    main(sys.argv[1:])
