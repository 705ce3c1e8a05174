"""Stiffness and estimated run times decide which solver a flow gets."""

import diffrax as dfx
import jax
import numpy as np
import pytest
from saddlescope.flows import Landscape, mean_squared_error
from saddlescope.flows.solver_choice.choose import Candidate, choose, first_choice
from saddlescope.models import Dense, TwoLayer, tanh


@pytest.fixture(scope="module")
def landscape():
    x = np.random.default_rng(0).standard_normal((20, 2))
    model = TwoLayer(Dense(tanh, inputs=2), width=3, scale=0.5, key=jax.random.key(0))
    return Landscape(model, mean_squared_error, (x, np.sin(x[:, :1])))


def test_stiff_flows_get_an_implicit_solver_from_the_start(landscape):
    short, long = (first_choice(landscape, horizon, rtol=1e-6) for horizon in (1.0, 1e9))
    assert short.name == "Tsit5"
    assert long.name in ("BDF", "Rodas5P")
    for choice in (short, long):
        assert str(choice).startswith(f"{choice.name}: spectral radius ")
        assert "9 parameters: some " in str(choice)


def test_a_flow_changes_to_a_solver_that_promises_to_halve_the_rest(landscape):
    theta = landscape.theta
    longest = 2 / landscape.sharpness(theta)

    def offers(nanoseconds):
        return lambda: {"cheap": Candidate(dfx.Heun(), lambda stiffness: nanoseconds)}

    def unasked():
        raise AssertionError("other solvers are not to be asked for")

    chosen = choose(landscape, theta, 1e6 * longest, longest, offers(1.0))
    assert chosen is not None
    assert chosen.name == "cheap"
    assert "1e+06 explicit steps to go, held short by stability" in str(chosen)
    assert choose(landscape, theta, 1e6 * longest, longest, offers(1e15)) is None
    # Few steps to go, or steps that accuracy keeps short.
    assert choose(landscape, theta, 100 * longest, longest, unasked) is None
    assert choose(landscape, theta, 1e6 * longest, longest / 100, unasked) is None
