"""The leading-order form on a null space against polynomials whose relaxed coefficients are known."""

import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import null_space_form, spectrum
from saddlescope.analysis.curvature.signs import critical_spectrum
from saddlescope.analysis.leading_order.added_unit import AddedUnitForm
from saddlescope.analysis.leading_order.added_units import NO_FALL, AddedUnitsForm
from saddlescope.flows import Landscape

from separable import separable
from vector import Vector

# a² + h(b) a + k(b) + m b² a² + n c⁶ + q c⁴, with coefficients in this order: of b², b³, b⁴ in h; of b² … b⁶ in k; m, n
# and q.
NAMES = ("h2", "h3", "h4", "k2", "k3", "k4", "k5", "k6", "m", "n", "q")


def polynomial(model, coefficients):
    a, b, c = model.x
    powers = jnp.stack([b**2, b**3, b**4, b**5, b**6])
    h, k = coefficients[:3] @ powers[:3], coefficients[3:8] @ powers
    return a**2 + h * a + k + coefficients[8] * (a * b) ** 2 + coefficients[9] * c**6 + coefficients[10] * c**4


def form_of(*, both=False, **coefficients):
    """The form along b, or on the plane of b and c, at the origin."""
    landscape = Landscape(Vector(jnp.zeros(3)), polynomial, np.array([coefficients.get(name, 0.0) for name in NAMES]))
    basis = np.eye(3)[:, 1:] if both else np.eye(3)[:, 1:2]
    # An eigenvalue of b that counts as zero tells how far the position may be off.
    return null_space_form(landscape, landscape.theta, spectrum(landscape, zero_threshold=0.1), basis=basis)


@pytest.mark.parametrize("size", [1.0, 1e-12, 1e-100])
def test_a_form_has_no_unit(size):
    """What is not rounding is there, however small."""
    form = form_of(k3=size)
    assert (form.order, form.lowest, form.highest) == (3, pytest.approx(-size), pytest.approx(size))
    assert str(form_of()) == "the loss does not change up to order 6"


@pytest.mark.parametrize("seed", range(6))
def test_rounding_is_no_form(seed):
    """(y − 1)⁴ in expanded coefficients and turned coordinates: its second and third derivatives are some 1e-15."""
    coefficients = np.polynomial.polynomial.polypow([-1.0, 1.0], 4) * 0.1
    landscape = separable(coefficients, at=(1.0, 0.0, 0.0), seed=seed)
    form = null_space_form(landscape, landscape.theta, critical_spectrum(landscape, landscape.theta))
    assert (form.order, form.lowest) == (4, pytest.approx(0.1, rel=1e-9))
    assert 0 < form.noise < 1e-10


@pytest.mark.parametrize("delta", [1e-3, 1e-2])
@pytest.mark.fast_for("0.01")
def test_a_form_is_not_positive_where_that_comes_from_being_off_the_centre(delta):
    """c⁴ + (b + δ)⁶ shows F₄ = 15 δ² along b, and F₃ = 20 δ³, F₅ = 6 δ as a point does that is off by δ."""
    off = {"k2": 15 * delta**4, "k3": 20 * delta**3, "k4": 15 * delta**2, "k5": 6 * delta, "k6": 1.0}
    form = form_of(both=True, q=1.0, **off)
    # The minimum of c⁴ + k b⁴ on the circle.
    lowest = pytest.approx(15 * delta**2 / (1 + 15 * delta**2), rel=1e-9)
    assert form.order == 4 and form.lowest == lowest and not form.rises
    centred = form_of(both=True, q=1.0, k4=15 * delta**2, k6=1.0)
    assert centred.rises and centred.lowest == lowest


def test_a_quartic_seen_off_its_centre_is_no_cubic():
    """(b + δ)⁴ shows F₂ = 6 δ² and F₃ = 4 δ, h = (4/3) F₂ F₄ / F₃² = ½; a cubic has h < 0.1, F₃ > 8.9 δ."""
    delta = 1e-2
    off_centre = {"k2": 6 * delta**2, "k4": 1.0}
    assert form_of(k3=4 * delta, **off_centre).order == 4
    assert form_of(k3=8 * delta, **off_centre).order == 4
    assert form_of(k3=10 * delta, **off_centre).order == 3


@pytest.mark.parametrize("order", [3, 4, 5, 6, 7, 8, 10, 12])
@pytest.mark.fast_for("3", "4")
def test_orders_to_twelve(order):
    """w₁ … w_p at the origin: F_p = −∏ d_i, lowest at equal |d_i|; the lower forms are zero."""
    landscape = Landscape(Vector(jnp.zeros(order)), lambda model, data: (jnp.prod(model.x) - 1) ** 2 / 2, ())
    found = critical_spectrum(landscape, landscape.theta)
    form = null_space_form(landscape, landscape.theta, found, max_order=6 if order <= 6 else 12)
    assert found.nullity == order and form.order == order
    assert form.lowest == pytest.approx(-(order ** (-order / 2)), rel=1e-6)


def test_orders_beyond_twelve_are_refused():
    landscape = separable([0.0, 0.0, 0.5])
    with pytest.raises(ValueError, match="from order 3 up to 12; got max_order=13"):
        null_space_form(landscape, landscape.theta, spectrum(landscape), max_order=13)


def test_fourth_order_needs_the_response_of_second_order():
    """Relaxing a leaves k − h²/4: F₄ = k₄ − h₂²/4."""
    form = form_of(h2=2.0, k4=0.75)
    assert (form.order, form.lowest) == (4, pytest.approx(-0.25, abs=1e-12))
    assert form.falls and form.rate == pytest.approx(1.0)


def test_fifth_order_needs_the_response_of_third_order():
    """F₄ = k₄ − h₂²/4 = 0, F₅ = k₅ − h₂h₃/2, either sign of which is met."""
    form = form_of(h2=2.0, h3=1.0, k4=1.0, k5=0.25)
    assert form.order == 5
    assert (form.lowest, form.highest) == (pytest.approx(-0.75, abs=1e-12), pytest.approx(0.75, abs=1e-12))
    # Without the response, F₅ = k₅ would have vanished where it does not, and the reverse.
    assert form_of(h2=2.0, h3=1.0, k4=1.0).order == 5
    assert form_of(h2=2.0, h3=1.0, k4=1.0, k5=1.0, k6=3.0).order == 6


def test_sixth_order_needs_the_response_of_fourth_order():
    """F₆ = k₆ − (h₃² + 2h₂h₄ − h₂²m)/4, the lower ones zero."""
    form = form_of(h2=2.0, h3=1.0, h4=3.0, k4=1.0, k5=1.0, k6=3.0, m=0.5)
    assert form.order == 6
    assert form.lowest == pytest.approx(3.0 - (1.0 + 12.0 - 2.0) / 4, abs=1e-11)
    assert form.rises and form.rate is None
    falling = form_of(h2=2.0, h4=3.0, k4=1.0)
    assert (falling.order, falling.lowest) == (6, pytest.approx(-3.0, abs=1e-11))


def test_extremes_on_a_plane():
    """F₆ = k₆ b⁶ + n c⁶: from −3 on one axis to 2 on the other."""
    form = form_of(both=True, h2=2.0, h4=3.0, k4=1.0, n=2.0)
    assert (form.order, form.dimension) == (6, 2)
    assert (form.lowest, form.highest) == (pytest.approx(-3.0, abs=1e-9), pytest.approx(2.0, abs=1e-9))
    np.testing.assert_allclose(np.abs(form.direction), [0, 1, 0], atol=1e-6)
    assert str(form) == "the loss changes at order 6, F_6 from -3 to 2 on the unit sphere of 2 dimensions"


def test_forms_of_added_units_speak():
    u, v = np.array([1.0, 0.0]), np.array([1.0])
    form = AddedUnitForm(order=3, strength=2.0, u=u, v=v, maximisers=np.ones((2, 3)))
    assert str(form).splitlines() == [
        "form of an added unit: order 3, strength 2, 2 maximisers",
        f"  steepest descent: dr/dt = {form.rate:.6g} r^2",
    ]
    none = AddedUnitForm(order=2, strength=0.0, u=None, v=None, maximisers=np.zeros((0, 3)))
    assert "no small unit lowers the loss" in str(none)
    assert "no direction was found" in str(NO_FALL) and NO_FALL.rate is None
    assert "order 4, steepest fall 0.5" in str(AddedUnitsForm(order=4, steepest=0.5))
    assert "dr/dt = 2 r^3" in str(AddedUnitsForm(order=4, steepest=0.5))
