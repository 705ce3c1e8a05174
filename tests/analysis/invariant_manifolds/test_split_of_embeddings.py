"""Embeddings and the flow: what an invariant manifold leaves uncoupled, and the flow on it in the wide metric."""

import equinox as eqx
import numpy as np
import pytest
from saddlescope.analysis import critical_point, embed, hessian, project, restricted_flow
from saddlescope.analysis.invariant_manifolds.departure import split_spectrum
from saddlescope.flows import Landscape, Result, flatten, half_squared_error
from saddlescope.flows.simulation.stepping import Steps
from saddlescope.flows.simulation.trajectory import Trajectory
from saddlescope.models import incoming, outgoing
from saddlescope.models.units import with_units

from architectures import problem


@pytest.mark.parametrize(("share", "invariant"), [(0.5, True), (0.3, False)])
def test_copies_of_unequal_weight_are_coupled_to_what_lies_across(share, invariant):
    """Theorem 1's copies for any γ have the map of one unit; only for γ = ½ does the flow keep them equal.

    Of a symmetric matrix, the norm of the part between two complements is what the two parts within leave over."""
    model, data = problem("tanh", seed=3)
    narrow = with_units(model, incoming(model)[:2], outgoing(model)[:2])
    embedding = embed(narrow, "i", unit=0, gamma_v=share)
    landscape = Landscape(embedding.wide(), half_squared_error, data)
    theta = np.asarray(flatten(embedding.wide()))
    point = eqx.tree_at(lambda p: (p.theta, p.embedding), critical_point(landscape), (theta, embedding))
    split = split_spectrum(point)
    whole = np.linalg.norm(hessian(landscape, theta)) ** 2
    within = np.linalg.norm(split.tangential) ** 2 + np.linalg.norm(split.normal) ** 2
    between = np.sqrt(max(whole - within, 0.0) / 2)
    if invariant:
        assert split.coupling < 1e-12 and between < 1e-6
    else:
        entries = len(split.tangential) * len(split.normal)
        assert between > 1e-3 and between / entries**0.5 <= split.coupling * (1 + 1e-9) <= between * (1 + 2e-9)


def test_a_restricted_flow_ends_in_the_network_that_it_returns():
    """Copies, whose narrow network is scaled to the wide metric: the embedding at the end is the path's last point."""
    model, data = problem("tanh", seed=3)
    ts, theta = np.array([0.0, 0.1, 0.2]), np.asarray(flatten(model))
    landscape = Landscape(model, half_squared_error, data)
    thetas = np.tile(theta, (3, 1))
    losses, gradients = landscape.values_and_gradients(thetas)
    steps = Steps(ts=ts, thetas=thetas, energies=0 * ts, losses=losses, speeds=np.linalg.norm(gradients, axis=1))
    stats = {"rtol": 1e-6, "atol": 1e-9}
    flow = Trajectory(steps=steps, result=Result.reached_t1, stats=stats, landscape=landscape, solver=None)
    restriction = restricted_flow(flow, 2)
    np.testing.assert_allclose(flatten(project(model, 2).wide()), restriction.path[0], atol=1e-12)
    np.testing.assert_allclose(flatten(restriction.embedding.wide()), restriction.path[-1], atol=1e-12)
    # It moved along the wide network's gradient, to first order in the time.
    moved, slope = restriction.path[1] - restriction.path[0], landscape.gradient(restriction.path[0])
    assert np.linalg.norm(moved) > 1e-3
    assert restriction.losses[-1] == pytest.approx(float(landscape.value(restriction.path[-1])), rel=1e-9)
    assert np.linalg.norm(moved + 0.1 * slope) < 0.5 * np.linalg.norm(moved)
