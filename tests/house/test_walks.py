"""Walks on the call graph: of a critical point through its classification, and of a loss to the solver."""

import functools
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import saddlescope
from jaxtyping import Array
from saddlescope.analysis import classify, critical_point
from saddlescope.flows import Landscape, half_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, linear, quadratic, tanh

# As installed, which need not be the tree of the tests.
PACKAGE = Path(saddlescope.__file__).parent.resolve()
ROOT = PACKAGE / "analysis"
HOME = "critical_points"


@functools.cache
def place(filename):
    """A file of a room of analysis, relative to it; `None` for all others."""
    path = Path(filename)
    if not path.is_absolute() or not path.resolve().is_relative_to(ROOT):
        return None
    relative = path.resolve().relative_to(ROOT)
    return relative.as_posix() if len(relative.parts) > 1 else None


def walked(function, argument):
    """What a function returns, and the files that the walk enters, in order.

    An entry is a call, made in a file of `critical_points`, of a function at the top level of another file of a room of
    analysis. The walks of the rooms below are their own; methods and properties only read the record that they belong
    to; files beside the rooms (threads, thresholds, arithmetic) are no places.
    """
    files, entries = [""], [f"{HOME}/{function.__name__}.py"]

    def follow(frame, event, _):
        if event == "return":
            if len(files) > 1:
                files.pop()
        elif event == "call":
            file = place(frame.f_code.co_filename) or files[-1]
            if file != files[-1] and files[-1].startswith(HOME) and "." not in frame.f_code.co_qualname:
                entries.append(file)
            files.append(file)

    sys.setprofile(follow)
    try:
        result = function(argument)
    finally:
        sys.setprofile(None)
    return result, entries


class Plane(eqx.Module):
    x: Array


def cubic(model, data):
    return 1 + model.x[0] ** 2 + model.x[1] ** 3


def network(activation, targets, width=2):
    model = TwoLayer(Dense(activation, inputs=2), width=width, scale=0.0, key=jax.random.key(0))
    inputs = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    return Landscape(model, half_squared_error, (inputs, np.array(targets)[:, None]))


@pytest.mark.parametrize(
    ("landscape", "name"),
    [
        (network(linear, [1.0, 2.0, 3.0]), "strict saddle"),
        (network(tanh, [1.0, 2.0, 3.0]), "strict saddle"),
        (network(quadratic, [1.0, 1.0, 1.0]), "degenerate saddle"),
        (network(linear, [0.0, 0.0, 0.0]), "minimum"),
        (Landscape(Plane(jnp.zeros(2)), cubic, ()), "degenerate saddle"),
    ],
    ids=["linear", "tanh", "quadratic", "zero loss", "no units"],
)
@pytest.mark.fast_for("no units", "zero loss")
def test_classification_enters_at_most_eight_files_and_none_twice(landscape, name):
    point = critical_point(landscape)
    kind, entries = walked(classify, point)
    assert kind.name == name
    assert 3 <= len(entries) <= 8 and len(set(entries)) == len(entries), entries


def test_finding_a_critical_point_enters_at_most_eight_files_and_none_twice():
    _, entries = walked(critical_point, network(linear, [1.0, 2.0, 3.0]))
    assert 3 <= len(entries) <= 8 and len(set(entries)) == len(entries), entries


@functools.cache
def in_flows(filename):
    return Path(filename).is_absolute() and Path(filename).resolve().is_relative_to(PACKAGE / "flows")


def test_a_loss_passes_four_files_on_its_way_to_the_solver():
    """Those of functions in flows to which it is handed: what is compiled of it is a landscape from then on."""
    model = TwoLayer(Dense(tanh, inputs=2), width=2, scale=0.1, key=jax.random.key(0))
    loss = lambda model, data: jnp.sum(jax.vmap(model)(data) ** 2)  # noqa: E731
    files = set()

    def follow(frame, event, _):
        code = frame.f_code
        if event != "call" or not in_flows(code.co_filename):
            return
        arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if any(frame.f_locals.get(name) is loss for name in arguments):
            files.add(Path(code.co_filename).name)

    sys.setprofile(follow)
    try:
        simulate(model, loss, np.eye(2), t1=0.1)
    finally:
        sys.setprofile(None)
    assert 2 <= len(files) <= 4, files
