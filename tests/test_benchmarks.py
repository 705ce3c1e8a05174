"""The benchmark's problems are what its page says, and its reading of curves is right."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from problems import PROBLEMS, with_times  # noqa: E402
from work_precision import at_error, equivalents  # noqa: E402

COUNTS = {
    "linear": 160,
    "tanh": 50,
    "softplus-33": 33,
    "softplus-601": 601,
    "relu": 150,
    "attention": 50,
    "deep-linear": 100,
    "wide": 100_000,
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_sizes_and_times(name):
    problem = with_times(PROBLEMS[name](), [0.5])
    assert problem.theta.size == COUNTS[name]
    assert 0.5 in problem.times and problem.times[-1] == problem.t1
    assert np.all(np.diff(problem.times) > 0)
    shape = jax.eval_shape(problem.landscape.value, problem.theta)
    assert shape.shape == ()


def test_curves_are_read_between_their_points_only():
    rows = [{"error": 1e-3, "seconds": 1.0}, {"error": 1e-5, "seconds": 4.0}, {"error": None, "seconds": 9.0}]
    seconds = lambda row: row["seconds"]  # noqa: E731
    assert at_error(rows, 1e-4, seconds) == pytest.approx(2.0)
    assert at_error(rows, 1e-2, seconds) == 1.0
    assert at_error(rows, 1e-6, seconds) is None


def test_gradient_equivalents():
    row = {"gradients": 10, "products": 3, "hessians": 2}
    assert equivalents(row, {"product": 2.0, "hessian": 7.0}) == 30
    assert equivalents(row | {"gradients": None}, {"product": 2.0, "hessian": 7.0}) is None
