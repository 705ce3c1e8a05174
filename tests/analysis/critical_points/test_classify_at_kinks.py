"""Points at which the loss has no Hessian, in models without declared units: forms of second order on rays."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import classify, critical_point
from saddlescope.analysis.curvature.kinks import rays_from
from saddlescope.flows import Landscape, half_squared_error
from saddlescope.models import Dense, TwoLayer, relu

from vector import Vector


def kind_of(loss, at, data=None):
    return classify(critical_point(Landscape(Vector(jnp.asarray(at, float)), loss, data)))


def turned(form, constant=0.0):
    """A function of two coordinates and a third of curvature one, in turned coordinates."""
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]

    def loss(model, unit):
        a, b, c = rotation @ (model.x - 1.0)
        return unit * (form(a, b) + c**2 / 2 + constant)

    return loss


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e9])
@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_a_kink_that_falls_on_one_side(unit, constant):
    """a² + b² − 2 max(a, 0)² falls as −a² for a > 0, and the Hessian of automatic differentiation at a = 0 is 2."""
    loss = turned(lambda a, b: a**2 + b**2 - 2 * jax.nn.relu(a) ** 2, constant)
    kind = kind_of(loss, np.zeros(3), 1.0)
    assert kind.name == "non-smooth saddle" and kind.order == 2
    assert not kind.evidence.startswith("the Hessian")


def test_at_the_exact_point_too():
    """At 0 the Hessian that automatic differentiation gives is 2 in all directions: no minimum for all that."""
    saddle = kind_of(lambda model, _: jnp.sum(model.x**2) - 2 * jax.nn.relu(model.x[0]) ** 2, np.zeros(3))
    assert saddle.name == "non-smooth saddle"
    minimum = kind_of(lambda model, _: jnp.sum(model.x**2) - 0.5 * jax.nn.relu(model.x[0]) ** 2, np.zeros(3))
    assert minimum.name == "minimum"


def sizes(x):
    """|x|, of which automatic differentiation says that it has the derivative 0 at 0."""
    return jax.nn.relu(x) + jax.nn.relu(-x)


def test_points_without_a_gradient():
    falls = kind_of(lambda model, _: jnp.sum(model.x**2) - jax.nn.relu(model.x[0]), np.zeros(3))
    assert falls.name == "no critical point" and "jumps" in falls.evidence
    rises = kind_of(lambda model, _: jnp.sum(sizes(model.x)) - jnp.sum(model.x**2), np.zeros(3))
    assert rises.name == "undetermined" and "first order" in rises.evidence
    # Along x₂ the loss falls at second order, of which nothing is said beside the jump.
    beside = kind_of(lambda model, _: jnp.sum(sizes(model.x[:2])) - model.x[2] ** 2, np.zeros(3))
    assert beside.name == "undetermined"


def test_an_autoencoder_of_tied_rectified_weights():
    r"""At zero $L = L_0 - \langle \max(w \cdot x, 0)^2 \rangle + \dots$, summed over units: it falls everywhere."""
    x = np.random.default_rng(0).standard_normal((20, 4))
    decoded = lambda w: jax.nn.relu(x @ w.T) @ w  # noqa: E731
    loss = lambda model, decay: jnp.mean(jnp.sum((decoded(model.x) - x) ** 2, 1)) / 2 + decay * jnp.sum(model.x**2)  # noqa: E731
    assert kind_of(loss, np.zeros((3, 4)), 0.0).name == "non-smooth saddle"
    # ⟨Σ max(w·x, 0)²⟩ ≤ λ_max |w|².
    largest = float(np.linalg.eigvalsh(x.T @ x / 20)[-1])
    assert kind_of(loss, np.zeros((3, 4)), 0.01 * largest).name == "non-smooth saddle"
    assert kind_of(loss, np.zeros((3, 4)), 1.1 * largest).name == "minimum"


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_steep_but_smooth_landscapes_have_no_kinks(scale):
    loss = lambda model, s: jnp.sum(jnp.cosh(30 * model.x / s)) - 500 * jnp.sum((model.x / s) ** 2)  # noqa: E731
    assert kind_of(loss, np.zeros(3), scale).name == "strict saddle"


def test_rounding_is_no_kink():
    """At 0 the derivative exp(x) − 1 is rounding of one."""
    kind = kind_of(lambda model, _: jnp.sum(jnp.exp(model.x) - 1 - model.x), np.zeros(3))
    assert kind.name == "minimum" and kind.index == 0


def test_the_form_on_rays_is_that_of_second_order():
    """Beside a third order as large: the form is the one at the point, on both sides of its kink."""
    loss = lambda model, data: data * (jax.nn.relu(model.x[0]) ** 2 - model.x[1] ** 2 + 9 * model.x[0] ** 3)  # noqa: E731
    landscape = Landscape(Vector(jnp.zeros(2)), loss, 1.0)
    rays = rays_from(landscape, landscape.theta)
    for d in rays.directions():
        value, slope = rays.form(d)
        expected = np.array([2 * max(d[0], 0.0), -2 * d[1]])
        np.testing.assert_allclose(slope, expected, atol=1e-6)
        assert value == pytest.approx(expected @ d / 2, abs=1e-6)


def rectified_but_off(off):
    """A unit that is off for all six samples, by that much, at zero loss gradient; above the kink it helps."""
    model = TwoLayer(Dense(relu, inputs=2), width=1, scale=1.0, key=jax.random.key(0))
    weights = (jnp.array([[-0.02, 0.02 - off]]), jnp.array([[1e-9]]))
    model = eqx.tree_at(lambda m: m.parameters, model, weights)
    return Landscape(model, half_squared_error, (np.ones((6, 2)), np.ones((6, 1))))


@pytest.mark.parametrize("off", [1e-9, 1e-10])
def test_a_kink_beside_the_point_within_the_accuracy_of_a_search(off):
    """Units that are off for all data leave no curvature: at the kink the loss falls, as v max(w · x, 0)."""
    landscape = rectified_but_off(off)
    point = critical_point(landscape)
    assert point.converged and point.gradient_norm == 0
    point = eqx.tree_at(lambda p: p.theta, point, landscape.theta)
    kind = classify(point, follow_channels=False)
    assert kind.name == "non-smooth saddle"
    # At the kink u = w·x ~ √2 |w|, and L falls by u v, at most by √2 r² / 2 at the distance r.
    fall = float(re.search(r"by ([\d.e-]+) r²", kind.evidence).group(1))
    assert fall == pytest.approx(1 / np.sqrt(2), rel=0.05)


def test_a_unit_that_is_clearly_off_is_at_a_flat_minimum():
    landscape = rectified_but_off(1e-2)
    point = eqx.tree_at(lambda p: p.theta, critical_point(landscape), landscape.theta)
    assert classify(point, follow_channels=False).name == "minimum"


@pytest.mark.parametrize("gap", [0.0, 1e-8, 1e-7])
def test_a_kink_beside_the_point_along_a_null_direction(gap):
    """b² and, past a gap, −a² or + a², which has a lower bound."""
    past = lambda model: jax.nn.relu(model.x[0] - 1.0 - gap) ** 2  # noqa: E731
    kinds = []
    for sign in (-1, 1):
        landscape = Landscape(Vector(jnp.ones(2)), lambda model, sign: (model.x[1] - 1) ** 2 + sign * past(model), sign)
        kinds.append(classify(critical_point(landscape), follow_channels=False).name)
    assert kinds == ["non-smooth saddle", "minimum"]
