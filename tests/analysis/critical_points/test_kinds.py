"""What a critical point is: forms of an added unit against closed forms, and the kinds of known points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import added_unit_form, classify, critical_point, itinerary, spectrum, theory
from saddlescope.analysis.critical_points.critical_point import solve_gradient
from saddlescope.analysis.leading_order.added_unit import steepness
from saddlescope.analysis.leading_order.null_space_form import third_order_form
from saddlescope.flows import Landscape, half_squared_error, simulate
from saddlescope.models import (
    Activation,
    Dense,
    LinearAttention,
    TwoLayer,
    UnitLaw,
    incoming,
    linear,
    quadratic,
    relu,
    tanh,
)
from saddlescope.models.units import with_units

from architectures import normal
from vector import Vector


def zero(architecture, width=3):
    return TwoLayer(architecture, width=width, scale=0.0, key=jax.random.key(0))


def nothing(architecture):
    """The network of no units."""
    model = zero(architecture)
    u = incoming(model)
    return with_units(model, u[:0], np.zeros((0, model.v[0].size)))


@pytest.fixture(scope="module")
def sample():
    x = np.asarray(normal(1, 40, 3))
    return x, np.asarray(normal(2, 40, 2)) + x[:, :2]


@pytest.mark.parametrize("activation", [linear, tanh])
def test_first_order_units_escape_along_singular_vectors(activation, sample):
    """M(u) = σ'(0) Σ_yx u at the origin."""
    x, y = sample
    form = added_unit_form(Landscape(nothing(Dense(activation, inputs=3, outputs=2)), half_squared_error, sample))
    left, sizes, right = np.linalg.svd(y.T @ x / len(x))
    assert form.order == 2
    assert form.strength == pytest.approx(sizes[0], rel=1e-10)
    assert form.rate == pytest.approx(sizes[0], rel=1e-10)
    assert abs(form.u @ right[0]) == pytest.approx(1, abs=1e-10)
    assert abs(form.v @ left[:, 0]) == pytest.approx(1, abs=1e-10)
    values = spectrum(Landscape(zero(Dense(activation, inputs=3, outputs=2)), half_squared_error, sample)).eigenvalues
    assert values[0] == pytest.approx(-form.rate, rel=1e-10)


def test_relu_form_is_maximised_over_the_circle():
    """Against a fine grid of directions."""
    x, y = np.asarray(normal(3, 15, 2)), np.asarray(normal(4, 15, 1))
    form = added_unit_form(Landscape(nothing(Dense(relu, inputs=2)), half_squared_error, (x, y)))
    angles = np.linspace(0, 2 * np.pi, 200_001)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    values = np.abs(y[:, 0] @ np.maximum(x @ circle, 0)) / 15
    # The maximum sits on a kink, where the grid of step 3e-5 falls short by that much times the slope.
    assert values.max() <= form.strength * (1 + 1e-12)
    assert form.strength == pytest.approx(values.max(), rel=1e-5)
    best = circle[:, np.argmax(values)]
    assert max(row[:2] @ best for row in form.maximisers) * np.sqrt(2) == pytest.approx(1, abs=1e-8)


def test_kinks_at_zero_count_on_the_side_where_a_unit_is():
    """SELU at zero has two slopes, λ and λα: small units see the leaky ReLU with these."""
    x, y = np.asarray(normal(3, 15, 2)), np.asarray(normal(4, 15, 1))
    selu = Activation("selu", jax.nn.selu)
    assert selu.law == UnitLaw(zero=True, smooth=False)
    above, below = (float(jax.grad(jax.nn.selu)(side)) for side in (1e-30, -1e-30))
    kinked = Activation("kinked", lambda z: jnp.where(z > 0, above * z, below * z))
    forms = [
        added_unit_form(Landscape(nothing(Dense(each, inputs=2)), half_squared_error, (x, y)))
        for each in (selu, kinked)
    ]
    assert forms[0].strength == pytest.approx(forms[1].strength, rel=1e-9)
    assert forms[0].order == forms[1].order == 2


def test_units_with_a_kink_of_second_order_lower_the_loss_at_third():
    r"""Rectified squares: $F = -\max_\pm |\langle y x^2 \rangle_{\pm x > 0}|\, u^2 |v|$, beside a Hessian of zero."""
    x, y = np.asarray(normal(5, 15, 1)), np.asarray(normal(6, 15, 1))
    model = zero(Dense(Activation("rectified square", lambda z: jnp.maximum(z, 0) ** 2), inputs=1), width=2)
    kind = classify(critical_point(Landscape(model, half_squared_error, (x, y))))
    sides = [abs(np.mean(np.where(side * x > 0, y * x**2, 0.0))) for side in (1, -1)]
    assert kind.added_unit_form.strength == pytest.approx(max(sides), rel=1e-9)
    assert (kind.name, kind.order, kind.index, kind.nullity) == ("degenerate saddle", 3, 0, 4)


def test_quadratic_form_at_the_origin(sample):
    """M(u) = uᵀ⟨y xxᵀ⟩u: the eigenvalue of largest size; order 3."""
    x, y = sample[0], sample[1][:, :1]
    landscape = Landscape(nothing(Dense(quadratic, inputs=3)), half_squared_error, (x, y))
    form = added_unit_form(landscape)
    values, vectors = np.linalg.eigh(np.einsum("p,pi,pj->ij", y[:, 0], x, x) / len(x))
    top = np.argmax(np.abs(values))
    assert form.order == 3
    assert form.strength == pytest.approx(abs(values[top]), rel=1e-9)
    assert abs(form.u @ vectors[:, top]) == pytest.approx(1, abs=1e-6)
    # With u² = 2/3 and v² = 1/3 of a unit vector: U = s (2/3) / √3 and ṙ = 3U r².
    assert form.rate == pytest.approx(3 * form.strength * (2 / 3) / np.sqrt(3))
    for row in form.maximisers:
        assert np.linalg.norm(row) == pytest.approx(1)
        gain = steepness(landscape, row)
        assert gain * 3 == pytest.approx(form.rate, rel=1e-6)


def test_attention_form_at_the_origin():
    """M(k, q) = kᵀ⟨y β x_qᵀ⟩q: the largest singular value, halved by ‖k‖² + ‖q‖² = 1."""
    beta, x, y = (np.asarray(normal(seed, 30, size)) for seed, size in ((5, 2), (6, 2), (7, 1)))
    form = added_unit_form(Landscape(nothing(LinearAttention(inputs=2)), half_squared_error, ((beta, x), y)))
    left, sizes, right = np.linalg.svd(np.einsum("p,pi,pj->ij", y[:, 0], beta, x) / 30)
    assert form.order == 3
    assert form.strength == pytest.approx(sizes[0] / 2, rel=1e-9)
    # Key and query of equal size along the leading singular vectors, up to their common sign.
    signs = [np.concatenate([a * left[:, 0], b * right[0]]) / np.sqrt(2) for a in (1, -1) for b in (1, -1)]
    assert max(form.u @ direction for direction in signs) > 1 - 1e-6


@pytest.mark.parametrize(
    ("architecture", "name", "order"),
    [
        (Dense(linear, inputs=3, outputs=2), "strict saddle", 2),
        (Dense(tanh, inputs=3, outputs=2), "strict saddle", 2),
        (Dense(relu, inputs=3, outputs=2), "non-smooth saddle", 2),
        (Dense(quadratic, inputs=3, outputs=2), "degenerate saddle", 3),
    ],
)
@pytest.mark.fast_for("architecture0-strict saddle-2", "architecture1-strict saddle-2")
def test_the_origin_is_never_a_minimum(architecture, name, order, sample):
    point = critical_point(Landscape(zero(architecture), half_squared_error, sample))
    kind = classify(point)
    assert (kind.name, kind.order) == (name, order)
    if name == "non-smooth saddle":
        assert kind.spectrum is None
        assert "not twice differentiable" in kind.evidence
    else:
        assert kind.spectrum.nullity == {"strict saddle": 3, "degenerate saddle": 15}[name]


def test_best_linear_fit_is_a_minimum_though_its_loss_is_not_zero(sample):
    """No added unit lowers the loss: the residual is orthogonal to the inputs."""
    x, y = sample
    best = np.linalg.lstsq(x, y, rcond=None)[0].T
    left, sizes, right = np.linalg.svd(best, full_matrices=False)
    root = np.sqrt(sizes)
    pad = np.zeros((1, 1))
    u = np.vstack([root[:, None] * right, pad * np.ones((1, 3))])
    v = np.vstack([root[:, None] * left.T, pad * np.ones((1, 2))])
    model = with_units(zero(Dense(linear, inputs=3, outputs=2)), u, v)
    kind = classify(critical_point(Landscape(model, half_squared_error, sample)))
    assert kind.name == "minimum" and not kind.added_unit_form.lowers()
    assert "the lowest of any coefficients" in kind.evidence


def test_networks_too_large_for_a_dense_hessian():
    """The form of an added unit still tells saddles from minima: linear, 3200 parameters, s = (2, 1)."""
    x = np.sqrt(2) * np.eye(2)
    data = x, x @ np.diag([2.0, 1.0])
    model = TwoLayer(Dense(linear, inputs=2, outputs=2), width=800, scale=1e-6, key=jax.random.key(0))
    visits = itinerary(simulate(model, half_squared_error, data, t1=40.0, rtol=1e-8))
    assert [visit.kind.name for visit in visits] == ["strict saddle", "strict saddle", "minimum"]
    assert [visit.kind.spectrum for visit in visits] == 3 * [None]
    # Index (H − r)(ρ − r) and nullity r² + (H − r)(4 − 2(ρ − r)) by blocks of the embedding, at any width.
    assert [(visit.kind.index, visit.kind.nullity) for visit in visits] == [
        (1600, 0),
        (799, 1 + 799 * 2),
        (0, 4 + 798 * 4),
    ]
    assert [visit.kind.added_unit_form.rate for visit in visits[:2]] == pytest.approx([2.0, 1.0], rel=1e-9)
    assert visits[0].escape.rate_measured == pytest.approx(2.0, rel=0.01)


def polynomial(model, coefficients):
    """1 + x₀² + further terms; one loss for all, so that they share what is compiled."""
    a, b, c = model.x
    terms = jnp.stack([b**2, b**3, b**4, c**2, c**4, c**8, a * b**2, (b * c) ** 2])
    return 1 + a**2 + coefficients @ terms


TERMS = ("b²", "b³", "b⁴", "c²", "c⁴", "c⁸", "ab²", "b²c²")


@pytest.mark.parametrize(
    ("terms", "name", "order"),
    [
        ({"b²": 1, "c²": 1}, "minimum", None),
        ({"b²": -1, "c²": 1}, "strict saddle", 2),
        ({"b³": 1, "c²": 1}, "degenerate saddle", 3),
        ({"b⁴": -1, "c²": 1}, "degenerate saddle", 4),
        ({"b⁴": 1, "c²": 1}, "minimum", None),
        # Flat at second order, but relaxing a makes it fall: (a + b²)² − 2b⁴.
        ({"ab²": 2, "b⁴": -1, "c²": 1}, "degenerate saddle", 4),
        # A curved valley floor, flat to all orders, a manifold of minima: (a + b²)².
        ({"ab²": 2, "b⁴": 1, "c²": 1}, "minimum", None),
        ({}, "minimum", None),
        ({"b⁴": 1, "c⁴": 1}, "minimum", None),
        # A cone of descent between directions of ascent.
        ({"b⁴": 1, "b²c²": -3, "c⁴": 1}, "degenerate saddle", 4),
        # Flat along one of two null directions, up to a high order, at which it falls.
        ({"b⁴": 1, "c⁸": -1}, "degenerate saddle", 8),
    ],
    ids=str,
)
def test_models_without_units(terms, name, order):
    coefficients = np.array([float(terms.get(term, 0)) for term in TERMS])
    kind = classify(critical_point(Landscape(Vector(jnp.zeros(3)), polynomial, coefficients)))
    assert (kind.name, kind.order) == (name, order)


def test_a_narrow_network_at_its_best_is_a_minimum(sample):
    """One linear unit on a target of rank two: no unit is left to escape through, and the rescaling is flat."""
    x, y = sample
    flow = simulate(
        TwoLayer(Dense(linear, inputs=3, outputs=2), width=1, scale=0.1, key=jax.random.key(0)),
        half_squared_error,
        sample,
        t1=200.0,
    )
    last = itinerary(flow)[-1]
    assert last.kind.name == "minimum"
    assert last.kind.spectrum.nullity == 1
    levels = theory.lemma6_levels(x, y)
    assert last.critical_point.loss == pytest.approx(levels[1], rel=1e-9)


def test_the_solver_converges_to_the_saddle_not_to_a_minimum():
    """L = (x² − 1)² + y²: from near the saddle at 0 to the saddle."""

    def loss(model, data):
        return (model.x[0] ** 2 - 1) ** 2 + model.x[1] ** 2

    landscape = Landscape(Vector(jnp.zeros(3)), loss, ())
    np.testing.assert_allclose(solve_gradient(landscape, np.array([0.1, -0.3, 0.0])), 0, atol=1e-12)


def test_third_order_form_is_the_third_derivative():
    model = TwoLayer(Dense(quadratic, inputs=2), width=2, scale=1.0, key=jax.random.key(0))
    landscape = Landscape(model, half_squared_error, (normal(1, 9, 2), normal(2, 9, 1)))
    direction = np.asarray(normal(3, 6))
    losses = [landscape.value(landscape.theta + h * direction) for h in np.array([-2, -1, 1, 2]) * 1e-2]
    difference = np.dot([-0.5, 1, -1, 0.5], losses) / 1e-6
    assert third_order_form(landscape, direction) == pytest.approx(difference / 6, rel=2e-2)


def test_third_order_agrees_with_the_dormant_form():
    """Two computations of one quantity: at the origin F₃ along the steepest unit is −U."""
    x, y = normal(1, 9, 2), normal(2, 9, 1)
    form = added_unit_form(Landscape(nothing(Dense(quadratic, inputs=2)), half_squared_error, (x, y)))
    wide = zero(Dense(quadratic, inputs=2), width=1)
    cubic = third_order_form(Landscape(wide, half_squared_error, (x, y)), form.maximisers[0])
    assert cubic == pytest.approx(-form.rate / 3, rel=1e-6)
