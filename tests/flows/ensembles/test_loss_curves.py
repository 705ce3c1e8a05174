"""Ensembles of flows against closed forms."""

import jax.numpy as jnp
import numpy as np
from saddlescope.flows import LossCurves, loss_curves

from vector import Vector


def valley(model, data):
    return data * jnp.sum(model.x**2) / 2


def test_flows_of_an_ensemble_are_the_closed_form():
    """$x' = -c x$ with each flow's own start, curvature c and times; stopped at a share of the loss."""
    starts, curvatures, until = np.array([[1.0, 2.0], [0.1, 0.0]]), np.array([1.0, 3.0]), 1e-2
    ts = np.linspace(0, 1, 30) * np.array([[4.0], [0.5]])
    curves = loss_curves([Vector(jnp.asarray(x)) for x in starts], valley, list(curvatures), ts, until=until)
    squares = np.sum(starts**2, axis=1)[:, None] * np.exp(-2 * curvatures[:, None] * ts)
    losses, going = curvatures[:, None] * squares / 2, squares > until * squares[:, :1]
    np.testing.assert_allclose(curves.losses[going], losses[going], rtol=1e-6)
    np.testing.assert_allclose(curves.speeds[going], (curvatures[:, None] * np.sqrt(squares))[going], rtol=1e-6)
    # The first flow is stopped, and stays where it was; the second does not get that far.
    assert not going[0].all() and going[1].all()
    assert np.all(np.diff(curves.losses[0][~going[0]]) == 0) and np.all(curves.speeds[0][~going[0]] == 0)
    assert np.all(curves.losses[0] >= 0.9 * until * losses[0, 0])


def test_an_ensemble_speaks_and_is_cut():
    ts = np.tile(np.linspace(0, 2, 5), (3, 1))
    losses = np.outer([1.0, 2.0, 3.0], [1.0, 0.5, 0.2, 0.1, 0.1])
    losses[2, 3:] = np.inf
    curves = LossCurves(ts=ts, losses=losses, speeds=losses)
    assert str(curves).splitlines() == [
        "loss curves of 3 gradient flows, 5 times each",
        "  to t = 2",
        "  loss 1 to 3 → 0.1 to 0.2",
        "  1 failed",
    ]
    assert len(curves[:2]) == 2
    np.testing.assert_array_equal(curves[1:].losses, losses[1:])
    assert str(curves[:1]).splitlines()[0] == "loss curves of 1 gradient flow, 5 times each"
