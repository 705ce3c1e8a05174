"""The benchmark's problems are what its page says, and its reading of curves is right."""

import json

import jax
import numpy as np
import pytest
from saddlescope.flows import flatten, mean_squared_error

from suite import answers
from suite.compiled import prepared
from suite.problems import PROBLEMS, Problem, with_times
from suite.report import against_peers, at_error, equivalents, tables, unfinished

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
@pytest.mark.fast_for("attention", "relu", "tanh")
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


def test_tables_compare_with_the_best_peer():
    """Half of the faster peer's time; a solver that failed is listed with its reason."""

    def rows(seconds):
        work = {"compile": 1.0, "equivalents": 10.0}
        return [{"rtol": 1e-3, "error": error, "seconds": seconds, **work} for error in (1e-3, 1e-7)]

    failed = [{"rtol": 1e-3, "error": None, "failure": "TimeoutError: not begun"}]
    solvers = {"auto": rows(1.0), "Tsit5": rows(2.0), "LSODA": rows(3.0), "Dopri8": failed}
    report = {"tanh": {"parameters": 50, "solvers": solvers}}
    lines = against_peers(report).splitlines()
    assert lines[2] == "| `tanh` (50) | 1 | 2 (Tsit5) | 0.50 | 1 | 2 (Tsit5) | 0.50 |"
    assert lines[-1].count("0.50") == 2
    assert "| LSODA | 3 (10) |" in tables(report).splitlines()
    assert unfinished(report).splitlines()[-1] == "- tanh, Dopri8 at rtol 0.001: not begun"


def test_preparations_are_made_once_per_problem():
    made = []

    def make(problem):
        made.append(problem.name)
        return made[-1]

    first, second = (Problem(name, None, 1.0) for name in ("first", "second"))
    assert [prepared(make, problem) for problem in (first, second, first)] == ["first", "second", "first"]
    assert made == ["first", "second"]


@pytest.mark.slow
def test_first_answers_are_to_the_same_question(capsys, tmp_path):
    """A program written by hand integrates the flow that `simulate` does, and every way leaves its marks."""
    x = np.random.default_rng(0).normal(size=(40, 2))
    np.savez(tmp_path / "data.npz", x, np.sin(2 * x[:, :1]) * x[:, 1:])
    model, data = answers.load("MLP", tmp_path / "data.npz")
    theta, loss = answers.flat(model)
    np.testing.assert_array_equal(theta, flatten(model))
    assert theta.size == 65 and float(loss(theta, data)) == pytest.approx(float(mean_squared_error(model, data)))
    for way in ("Tsit5", "LSODA"):
        answers.main(way, "MLP", tmp_path / "data.npz", 0.0)
        marks = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert [len(mark) for mark in marks] == ([3] if way == "Tsit5" else [3, 3])
