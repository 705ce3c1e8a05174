"""Tolerances of the recognition of laws: a small but clear violation breaks a law, rounding does not.

The violations lie between a tolerance and a thousand times the tolerance.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saddlescope.models import Activation, UnitLaw
from saddlescope.models.activation_law import law_of_function

LINEAR = UnitLaw(zero=True, degree=1, linear=True)


def relu(x):
    return jnp.where(x > 0, x, 0.0)


@settings(max_examples=5)
@given(p=st.integers(1, 4), size=st.floats(1e-3, 1e3), excess=st.floats(1e-10, 1e-9))
def test_a_small_higher_power_breaks_homogeneity(p, size, excess):
    """c (xᵖ + ε xᵖ⁺²): identities of degree p fail by about 100 ε."""
    function = lambda x: size * (x**p + excess * x ** (p + 2))  # noqa: E731
    assert law_of_function(function) == UnitLaw(zero=True, order=p)
    with pytest.raises(ValueError, match=f"it states degree={p} over real factors"):
        Activation("nearly", function, law=UnitLaw(zero=True, degree=p, order=p))


@settings(max_examples=5)
@given(excess=st.sampled_from([-1.0, 1.0]), share=st.floats(3e-9, 3e-8))
def test_slopes_that_differ_a_little_are_not_linear(excess, share):
    """Positively homogeneous of degree 1, but not over the reals."""
    function = lambda x: jnp.where(x > 0, x, (1 + excess * share) * x)  # noqa: E731
    law = law_of_function(function)
    assert (law.degree, law.field, law.linear) == (1, "nonnegative", False)
    with pytest.raises(ValueError, match="it states degree=1 over real factors"):
        Activation("nearly", function, law=LINEAR)


@pytest.mark.parametrize("offset", [-1e-8, 1e-8])
def test_a_small_value_at_zero_is_not_zero(offset):
    function = lambda x: jnp.tanh(x) + offset  # noqa: E731
    assert law_of_function(function) == UnitLaw(zero=False, order=0)
    with pytest.raises(ValueError, match=r"it states zero=True, but σ\(0\) = -?1e-08"):
        Activation("nearly", function, law=UnitLaw(zero=True))


@pytest.mark.parametrize("place", [-2.345, 0.0, 1.0])
@pytest.mark.parametrize(
    ("what", "kink"),
    [
        ("value", lambda x: 1e-4 * jnp.where(x > 0, 1.0, 0.0)),
        ("slope", lambda x: 1e-4 * relu(x)),
        ("curvature", lambda x: 1e-4 * relu(x) ** 2),
    ],
)
def test_a_small_jump_is_not_smooth(what, kink, place):
    function = lambda x: x + kink(x - place) - kink(-place)  # noqa: E731
    with pytest.raises(ValueError, match=f"it states smooth=True, but its {what} jumps at x = ") as raised:
        Activation("nearly", function, law=UnitLaw(zero=True))
    assert float(str(raised.value).split("x = ")[1].rstrip(".")) == pytest.approx(place, abs=1e-10)
    assert not law_of_function(lambda x: 1 + function(x)).smooth


@pytest.mark.parametrize("steepness", [1.0, 30.0, 1000.0])
def test_a_steep_function_is_smooth(steepness):
    law = UnitLaw(zero=True)
    assert Activation("steep", lambda x: jnp.tanh(steepness * x), law=law).law == law


@pytest.mark.parametrize("exponent", [1.1, 1.5, 2.08])
def test_powers_between_the_integers_have_no_order(exponent):
    with pytest.raises(ValueError, match="does not show in its values"):
        law_of_function(lambda x: jnp.abs(x) ** exponent)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_rounding_breaks_no_law(p):
    """A power of x by a detour, whose values err by some 1e-15."""
    power = lambda x: jnp.sinh(jnp.arcsinh(x)) ** p  # noqa: E731
    x = np.linspace(-5, 5, 99)
    errors = np.abs(np.asarray(power(jnp.asarray(x))) - x**p)
    assert 0 < np.max(errors) < 1e-12
    assert law_of_function(power) == UnitLaw(zero=True, degree=p, linear=p == 1, order=p)
