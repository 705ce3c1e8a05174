r"""A connection between saddles that a small tilt breaks: Melnikov's integral says how much is missing.

$L = \frac14 (x^2 - 1)^2 + \frac12 (1 - 2x^2) y^2 + \varepsilon y$. For ε = 0 the line y = 0 from (0, 0) to (1, 0) is
an orbit between two saddles of index 1, $\dot x = x - x^3$. Beside it $\dot y = -(1 - 2x^2) y - \varepsilon$. The
adjoint $\dot\psi = (1 - 2x^2) \psi$ is $\psi = x \sqrt{1 - x^2}$: an orbit between the saddles, now at y = −ε and ε,
would need $\varepsilon \int \psi\,dt = 0$, but the integral is $\varepsilon \arcsin x = \varepsilon \pi / 2$.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import critical_point, escape_directions, heteroclinic_orbit
from saddlescope.analysis.orbits.connections import Connection
from saddlescope.flows import Landscape

from vector import Vector


def pass_between_wells(model, tilt):
    x, y = model.x
    return (x**2 - 1) ** 2 / 4 + (1 - 2 * x**2) * y**2 / 2 + tilt * y


def straight_guess(tilt, start):
    """The orbit of ε = 0 from x = `start` on, offered as a connection between the saddles of another ε."""
    landscape = Landscape(Vector(jnp.array([0.0, -tilt])), pass_between_wells, np.asarray(tilt))
    source, target = critical_point(landscape), critical_point(landscape, np.array([1.0, tilt]))
    assert source.converged and target.converged
    along = max(escape_directions(source), key=lambda direction: direction.direction[0])
    times = np.linspace(0, 12, 400)
    x = (1 + (start**-2 - 1) * np.exp(-2 * times)) ** -0.5
    path = np.stack([x, 0 * x], axis=1)
    losses = landscape.values_and_gradients(path)[0]
    return Connection(escape_direction=along, end=target, times=times, path=path, losses=losses, leak=0.0)


def test_the_orbit_that_symmetry_keeps_is_found():
    """Straight, of length 1, at rate 1; its loss falls from a tenth to nine tenths in a time known."""
    start = 0.02
    orbit = heteroclinic_orbit(straight_guess(0.0, start), intervals=20)
    assert orbit.converged and orbit.angle <= 1e-5 and orbit.gap < 1e-10
    assert orbit.arc_length == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(orbit.path[:, 1], 0.0, atol=1e-12)
    arc, losses = orbit.profile
    np.testing.assert_allclose(arc, orbit.path[:, 0], atol=1e-6)
    np.testing.assert_allclose(losses, (1 - arc**2) ** 2 / 4, atol=1e-6)
    early, late = 1 - np.sqrt(0.9), 1 - np.sqrt(0.1)
    expected = np.log(late * (1 - early) / (early * (1 - late))) / 2
    assert orbit.transition_time == pytest.approx(expected, rel=2e-3)
    # Ten times nearer, ln 10 later.
    assert orbit.dwell(start / 10) - orbit.dwell(start) == pytest.approx(np.log(10) / orbit.rate)
    assert orbit.rate == pytest.approx(1.0) and "NOT" not in str(orbit)


def test_an_orbit_that_does_not_exist_does_not_converge():
    r"""Least squares spreads what is missing, M = ε ∫ψ dt and the ends' own share, over all conditions in proportion to
    ψ: the residual is $\psi_k M / \sum \psi^2$. The gap is that at the source, plus the largest.

    From half way, so that both are of a size. A halved mesh on which no step lowers the largest residual any more keeps
    the ends of the one before, whose residuals are twice as large."""
    tilt = 1e-3
    orbit = heteroclinic_orbit(straight_guess(tilt, 0.5), intervals=8)
    assert not orbit.converged and "NOT converged" in str(orbit)
    # The tangent is off by the missing velocity, ε π ψ / ẋ = ε π / √(1 − x²): whatever the mesh, most at the target.
    assert orbit.angle > 100 * np.pi * tilt
    # Its end is on the target's stable eigenspace all the same, as ψ has vanished there.
    assert orbit.path[-1, 1] == pytest.approx(tilt, rel=1e-3)
    x = np.minimum(orbit.path[:, 0], 1.0)
    psi = x * np.sqrt(1 - x**2)
    missing = tilt * (np.arcsin(x[-1]) - np.arcsin(x[0]) + psi[0] + psi[-1])
    residual = psi * missing / (np.sum(psi**2) + psi[-1] ** 2)
    distance = np.linalg.norm(orbit.target - orbit.source)
    assert distance == pytest.approx(1.0, abs=1e-3)
    least = (residual[0] + np.max(residual)) / distance
    assert 0.99 * least < orbit.gap < 1.01 * (least + residual[0])
