"""The faults that `plant_faults.py` plants are those that its name says."""

from collections import Counter
from pathlib import Path

import pytest

from faults import faults_in
from plant_faults import all_faults, rooms_tests, sample

SOURCE = '''"""Text."""
TOLERANCE = 1e-6


def energy(x: int | float, y, rows):
    """½ x² − y."""
    for k in range(3):
        rows = helper(x, rows[:k])
    assert x + y > 0, "said"
    return -x * y + solve(x, rtol=1e-3)
'''
EXPECTED = [
    ("loosened tolerance", "0.01"),
    ("off by one", "range(3 - 1)"),
    ("swapped arguments", "helper(rows[:k], x)"),
    ("off by one", "rows[:k + 1]"),
    ("wrong sign", "(-x * y - solve(x, rtol=0.001))"),
    ("dropped term", "(-x * y)"),
    ("factor ½", "(-x * y / 2)"),
    ("wrong sign", "x"),
    ("loosened tolerance", "solve(x, rtol=10000.0 * 0.001)"),
]


def test_faults_of_every_kind_are_found_where_something_is_computed(tmp_path):
    (tmp_path / "some.py").write_text(SOURCE)
    found = faults_in(tmp_path, "some.py")
    assert Counter((fault.kind, fault.new) for fault in found) == Counter(EXPECTED)
    planted = {fault.planted(SOURCE.encode()).decode() for fault in found}
    assert len(planted) == len(found) and SOURCE not in planted
    with pytest.raises(ValueError, match="some.py:2 is no longer '1e-6': find the faults anew"):
        next(fault for fault in found if fault.line == 2).planted(b"# changed\n" + SOURCE.encode())


@pytest.mark.slow
def test_a_sample_has_as_many_of_each_kind_and_is_drawn_again_from_its_seed():
    faults = sample(4, 0)
    assert set(Counter(fault.kind for fault in faults).values()) == {4}
    assert faults == sample(4, 0) != sample(4, 1)
    assert not any("figures" in fault.path for fault in all_faults())
    root = Path(__file__).parents[2]
    for fault in faults:
        compile(fault.planted((root / fault.path).read_bytes()), fault.path, "exec")
    assert rooms_tests("analysis/critical_points/classify.py") == "tests/analysis/critical_points"
    assert rooms_tests("analysis/rounding.py") == "tests/analysis"
