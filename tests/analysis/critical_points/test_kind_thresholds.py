r"""Each threshold that decides a kind, from both sides: what is just beyond counts, what is just within does not.

Polynomials in rotated coordinates, of which every eigenvalue and form is a coefficient.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from saddlescope.analysis import classify, critical_point, null_space, spectrum
from saddlescope.analysis.curvature.scales import Scales
from saddlescope.analysis.curvature.spectrum import Spectrum
from saddlescope.flows import Landscape, half_squared_error
from saddlescope.models import Dense, TwoLayer, quadratic

from separable import rotation, separable, well


def kind_of(*rows, scales=None, **options):
    return classify(critical_point(separable(*rows, **options)), scales=scales)


@pytest.mark.parametrize("level", [0.0, 3e-15, 1e-12])
@pytest.mark.fast_for("1e-12", "3e-15")
def test_a_value_near_zero_is_no_reason(level):
    """A cubic saddle stays one at a loss of zero or some ε: no bound is known that it attains."""
    for scales in (Scales(), Scales(loss=1e3)):
        found = kind_of([level], [0, 0, 0, 1.0], scales=scales)
        assert (found.name, found.order) == ("degenerate saddle", 3)


@pytest.mark.parametrize(("lowest", "index"), [(-1e-3, 1), (-1e-9, 1), (-1e-11, 1), (-1e-16, 0)])
@pytest.mark.parametrize("seed", [None, 1])
def test_an_eigenvalue_is_negative_beyond_rounding(lowest, index, seed):
    kind = kind_of([1.0, 0.0, lowest / 2], seed=seed)
    assert kind.index == index
    assert kind.nullity == 1 - index
    assert (kind.name == "strict saddle") == (index == 1)


@pytest.mark.parametrize(("lowest", "index"), [(-2e-4, 1), (-2e-5, 0)])
def test_an_inexact_point_leaves_eigenvalues_open(lowest, index):
    """λ y²/2 + y³ at y = δ = 1e-6: moving by four Newton steps changes λ by 24 δ, at λ = −2e-5 by more than a half."""
    exact = critical_point(separable([1.0, 0.0, lowest / 2, 1.0], seed=2))
    assert classify(exact).index == 1
    aside = exact.theta + 1e-6 * rotation(2)[0]
    assert classify(eqx.tree_at(lambda p: p.theta, exact, aside)).index == index


@pytest.mark.parametrize(
    ("quartic", "name"),
    [(-1e-4, "degenerate saddle"), (1e-4, "minimum"), (-1e-9, "degenerate saddle"), (1e-9, "minimum")],
)
def test_a_null_space_is_followed_to_the_order_at_which_the_loss_changes(quartic, name):
    kind = kind_of([1.0, 0, 0, 0, quartic], seed=1)
    assert kind.name == name
    assert kind.order == (4 if name == "degenerate saddle" else None)
    assert kind.null_space_form.order == 4
    assert kind.null_space_form.lowest == pytest.approx(quartic, rel=1e-6)


def test_a_valley_is_a_family_of_minima():
    kind = kind_of([1.0], seed=1)
    assert (kind.name, kind.nullity) == ("minimum", 1)
    assert "family of critical points" in kind.evidence


def test_a_zero_far_away_is_not_what_slows_a_flow_down():
    """ln(1 + e^−y) has its infimum at infinity, where the gradient falls below any tolerance; y grows like ln t."""
    channel = separable([0.0], [0, 0, 1.0], at=(1.0, 0.0, 0.0), slope=1.0)
    point = critical_point(channel)
    assert point.converged and point.distance > 10 * np.linalg.norm(point.start)
    kind = classify(point)
    assert kind.name == "flat channel" and kind.spectrum is None
    # A zero that is near is taken for what it is, also where the loss is nearly flat.
    near = critical_point(separable(well(1.0, at=3.0), at=(3.3, 0.0, 0.0)))
    assert near.converged and near.distance < 2 * np.linalg.norm(near.start)
    assert classify(near).name == "strict saddle"


@pytest.mark.parametrize("size", [1e-6, 1e-10, 1e-30])
def test_a_small_unit_lowers_the_loss_whatever_the_units_of_the_loss(size):
    """One quadratic unit on y = size · 2x₀x₁: its form is the largest |eigenvalue| of ⟨y xxᵀ⟩, 4/3 of it."""
    x = jnp.array([[1.0, 1.0], [1.0, -1.0], [2.0, 0.0]])
    y = size * 2 * x[:, :1] * x[:, 1:]
    model = TwoLayer(Dense(quadratic, inputs=2), width=1, scale=0.0, key=jax.random.key(0))
    kind = classify(critical_point(Landscape(model, half_squared_error, (x, y))))
    assert kind.added_unit_form.strength == pytest.approx(4 / 3 * size, rel=1e-6)
    assert (kind.name, kind.order) == ("degenerate saddle", 3)


class Factors(eqx.Module):
    """x₀ x₁ x₂ z: two rescalings, and no other symmetry."""

    x: Array

    def __call__(self, z):
        return jnp.prod(self.x) * z


SAMPLE = np.array([[1.0], [2.0]]), np.array([[1e-4], [2e-4]])


def test_symmetries_that_are_nearly_parallel_are_still_two():
    """At (1/100, 1/100, 1) on the target, 1e-4: both rescalings move x₂ most, their tangents differ by a hundredth."""
    model = Factors(jnp.array([1e-2, 1e-2, 1.0]))
    found = null_space(spectrum(Landscape(model, half_squared_error, SAMPLE)), model, SAMPLE)
    assert (found.nullity, found.symmetry, found.unexplained) == (2, 2, 0)


@pytest.mark.parametrize("angle", [3e-5, 3e-4, 3e-2])
def test_a_direction_is_null_up_to_what_the_point_leaves_open(angle):
    """A null space that is turned out of the orbit's tangent by an angle: up to 1e-4 the symmetry explains it."""
    model = Factors(jnp.array([0.5, 1.0, 2.0]))
    slope = np.array([2.0, 1.0, 0.5]) / np.linalg.norm([2.0, 1.0, 0.5])
    # Orthonormal: one tangent, and the other turned towards the gradient of the map.
    first = np.array([0.5, -1.0, 0.0]) / np.linalg.norm([0.5, -1.0, 0.0])
    second = np.cross(slope, first)
    turned = np.cos(angle) * second + np.sin(angle) * slope
    vectors = np.stack([first, turned, np.cross(first, turned)], axis=1)
    found = null_space(Spectrum(np.array([0.0, 0.0, 1.0]), vectors, 1e-8), model, SAMPLE)
    assert found.nullity == 2 and found.symmetry + found.unexplained == 2
    assert found.symmetry == 2 if angle < 1e-4 else found.symmetry < 2


def test_what_no_symmetry_explains_is_orthogonal_to_the_orbits():
    """If all three directions were null, two by symmetry: the third is the gradient of the map."""
    model, slope = Factors(jnp.array([0.5, 1.0, 2.0])), np.array([2.0, 1.0, 0.5])
    found = null_space(Spectrum(np.zeros(3), np.linalg.qr(np.eye(3) + 0.3)[0], 1e-8), model, SAMPLE)
    assert (found.nullity, found.symmetry, found.families, found.unexplained) == (3, 2, 0, 1)
    assert abs(found.directions[:, 0] @ slope) == pytest.approx(np.linalg.norm(slope))
