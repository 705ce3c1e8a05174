"""Orbits on the unstable manifold of a saddle, and between saddles, against closed forms."""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import (
    classify,
    critical_point,
    escape_directions,
    follow,
    heteroclinic_orbit,
    spectrum,
    unstable_manifold,
)
from saddlescope.flows import Landscape, half_squared_error
from saddlescope.models import Dense, TwoLayer, linear
from saddlescope.models.units import with_units
from scipy.special import ellipe

from vector import Vector

STRENGTHS = np.array([4.0, 2.0])
LEAD, OTHER = STRENGTHS


@pytest.fixture(scope="module")
def saddle():
    """Two modes, two units, in a rotated basis: the saddle that has learned given modes."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))
    x = np.sqrt(2) * np.eye(2)
    data = jnp.asarray(x), jnp.asarray(x @ (rotation * STRENGTHS) @ rotation.T)
    template = TwoLayer(Dense(linear, inputs=2, outputs=2), width=2, scale=0.0, key=jax.random.key(0))

    @cache
    def point(*learned):
        rows = np.zeros((2, 2))
        for unit, mode in enumerate(learned):
            rows[unit] = np.sqrt(STRENGTHS[mode]) * rotation[:, mode]
        return critical_point(Landscape(with_units(template, rows, rows), half_squared_error, data))

    return point


def connection(point, rate, size):
    """The exit of a given rate, followed."""
    direction = min(escape_directions(point), key=lambda direction: abs(direction.rate - rate))
    assert direction.rate == pytest.approx(rate, rel=1e-6)
    return follow(direction, size=size)


def growth_time(first, last, s):
    r"""Time in which $\dot u = 2u(s - u)$ goes from one value to another."""
    return np.log(last * (s - first) / (first * (s - last))) / (2 * s)


def test_a_mode_is_learned_on_a_straight_line(saddle):
    r"""From {1} to {1, 2}: one unit grows as $u = v = a(t)\,e$; with $\sigma = \sqrt 2 a$ the arc length,
    $L = \frac12 (s_2 - \sigma^2/2)^2$, and $a^2$ is logistic at the rate $2 s_2$."""
    orbit = heteroclinic_orbit(connection(saddle(0), OTHER, 2.0))
    assert orbit.converged and orbit.angle < 1e-8 and orbit.gap < 1e-12
    assert orbit.arc_length == pytest.approx(np.sqrt(2 * OTHER), rel=1e-9)
    arc, losses = orbit.profile
    np.testing.assert_allclose(losses, (OTHER - arc**2 / 2) ** 2 / 2, atol=1e-9)
    early, late = OTHER * (1 - np.sqrt(0.9)), OTHER * (1 - np.sqrt(0.1))
    assert orbit.transition_time == pytest.approx(growth_time(early, late, OTHER), rel=1e-4)
    assert orbit.dwell(1e-6) == pytest.approx(growth_time(1e-12 / 2, early, OTHER), rel=1e-4)
    assert "converged" in str(orbit) and "NOT" not in str(orbit)
    with pytest.raises(ValueError, match="distance must be positive and at most"):
        orbit.dwell(1.0)


def test_a_mode_is_exchanged_on_an_ellipse(saddle):
    r"""From {2} to {1}, a saddle itself: $w = (\alpha, \beta)$ obeys $\dot w = (S - |w|^2) w$, whose orbit between the
    two is the quarter of $\alpha^2/s_1 + \beta^2/s_2 = 1$; u and v both move on it, so semi-axes are $\sqrt{2 s}$.

    The first guess is put off the orbit: the boundary-value problem finds it again, which no flow does, as nearby flows
    leave the target."""
    guess = connection(saddle(1), LEAD - OTHER, 2.0)
    assert guess.end.loss == pytest.approx(OTHER**2 / 2)
    bump = np.sin(np.linspace(0, np.pi, len(guess.times)))[:, None]
    bent = guess.path + 0.05 * bump * np.random.default_rng(1).standard_normal(guess.path.shape[1])
    orbit = heteroclinic_orbit(eqx.tree_at(lambda c: c.path, guess, bent), tolerance=1e-6)
    assert orbit.converged
    eccentricity = 1 - OTHER / LEAD
    assert orbit.arc_length == pytest.approx(np.sqrt(2 * LEAD) * ellipe(eccentricity), rel=1e-7)
    # In u and v alike: squared components along the modes, each of which is the ellipse's.
    half = orbit.path.reshape(len(orbit.path), 2, 2, 2)
    np.testing.assert_allclose(half[:, 0], half[:, 1], atol=1e-6)
    values = np.linalg.eigvalsh(np.einsum("thi,thj->tij", half[:, 0], half[:, 0]))
    np.testing.assert_allclose(values[:, 0], 0.0, atol=1e-8)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))
    squares = np.sum((half[:, 0] @ rotation) ** 2, axis=1)
    np.testing.assert_allclose(squares @ (1 / STRENGTHS), 1.0, atol=1e-5)


def coupled(model, data):
    """Three double wells of different depths that bend each other's valleys."""
    x = model.x
    wells = jnp.sum(jnp.array([1.0, 2.0, 4.0]) * (x**2 - 1) ** 2) / 4
    return wells + data[0] * (x[0] * x[1] + x[1] * x[2] + x[0] ** 2 * x[1])


@pytest.mark.slow
def test_an_orbit_that_no_symmetry_keeps():
    """From the maximum to a saddle of index 2 along the weakest direction: its orbit bends into the stronger ones, the
    flow in the slice is only a first guess, and the energy that the orbit dissipates must be the drop in loss."""
    data = jnp.array([0.15])
    top = critical_point(Landscape(Vector(jnp.zeros(3)), coupled, data))
    there = spectrum(top.landscape)
    assert there.index == 3
    guess = connection(top, -there.eigenvalues[2], 1.0)
    target = guess.end
    assert spectrum(target.landscape, target.theta).index == 2
    assert guess.leak > 1e-3
    orbit = heteroclinic_orbit(guess)
    assert orbit.converged and orbit.gap < 1e-9
    np.testing.assert_allclose(orbit.target, target.theta, atol=1e-8)
    # Tangents by differences of the path itself, against the gradient in closed form.
    slopes = np.gradient(orbit.path, orbit.times, axis=0)
    exact = -np.asarray(jax.vmap(jax.grad(lambda x: coupled(Vector(x), data)))(jnp.asarray(orbit.path)))
    middle = slice(len(slopes) // 4, -len(slopes) // 4)
    assert np.max(np.abs(slopes - exact)[middle]) < 0.02 * np.max(np.abs(exact))
    energy = np.trapezoid(np.sum(exact**2, axis=1), orbit.times)
    assert energy == pytest.approx(orbit.losses[0] - orbit.losses[-1], rel=5e-3)
    assert orbit.losses[-1] == pytest.approx(target.loss, abs=1e-5)


def test_orbits_are_refused_from_what_is_no_strict_saddle(saddle):
    guess = connection(saddle(0), OTHER, 2.0)
    minimum = eqx.tree_at(lambda c: c.escape_direction.kind, guess, classify(saddle(0, 1)))
    with pytest.raises(ValueError, match="must be a strict saddle.*it is a minimum"):
        heteroclinic_orbit(minimum)
    with pytest.raises(ValueError, match="more than 60000 unknowns"):
        heteroclinic_orbit(guess, intervals=10_000)


@pytest.mark.slow
def test_the_unstable_manifold_of_the_origin(saddle):
    r"""Along the eigenspace of one mode every flow is that mode's logistic; on all of it U and V stay balanced."""
    times = np.linspace(0, 6, 25)
    sample = unstable_manifold(saddle(), times, count=5, rates=(3.0, 5.0), rtol=1e-10)
    start = 1e-6 / 2
    square = LEAD / (1 + (LEAD / start - 1) * np.exp(-2 * LEAD * times))
    expected = (LEAD - square) ** 2 / 2 + OTHER**2 / 2
    np.testing.assert_allclose(sample.losses, np.broadcast_to(expected, (5, 25)), rtol=1e-7)
    sample = unstable_manifold(saddle(), times, count=5)
    assert np.linalg.matrix_rank(sample.directions) == 4
    assert np.all(np.diff(sample.losses, axis=1) < 0) and np.all(sample.losses[:, -1] < 1e-3)
    for flow in range(5):
        model = sample.model(flow)
        np.testing.assert_allclose(model.u @ model.u.T, model.v @ model.v.T, atol=1e-6)


def test_unstable_manifolds_are_refused_where_there_are_none(saddle):
    with pytest.raises(ValueError, match="no unstable eigenvalue"):
        unstable_manifold(saddle(0, 1), [0.0, 1.0])
    with pytest.raises(ValueError, match="increasing"):
        unstable_manifold(saddle(), [1.0, 1.0])
