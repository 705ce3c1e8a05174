"""What a small unit does to the loss: its lowest order, and the slope of its strength."""

import jax
import numpy as np
import pytest
from saddlescope.analysis.leading_order.unit_effect import unit_effect
from saddlescope.flows import Landscape, half_squared_error
from saddlescope.models import Dense, TwoLayer, quadratic, relu, tanh, x_tanh_x

# A law with a degree, one without whose units are linear to lowest order, and one of order two.
CASES = {"quadratic": quadratic, "relu": relu, "tanh": tanh, "x tanh x": x_tanh_x}


@pytest.mark.parametrize("name", CASES)
def test_the_slope_of_a_units_strength_is_its_difference_quotient(name):
    r"""M(u) is $-\nabla_v L$ of a unit (su, v = 0) to its lowest order in s; the slope is that of $\|M\|^2 / 2$."""
    generator = np.random.default_rng(0)
    model = TwoLayer(Dense(CASES[name], inputs=2, outputs=2), width=2, scale=1.0, key=jax.random.key(0))
    data = generator.standard_normal((12, 2)), generator.standard_normal((12, 2))
    effect = unit_effect(Landscape(model, half_squared_error, data))
    u, h = generator.standard_normal(2), 1e-5
    image, slope = effect.image_and_slope(u)
    np.testing.assert_allclose(image, effect.lowest(u), rtol=1e-12)
    x, y = data
    shape = {"quadratic": (x @ u) ** 2, "relu": np.maximum(x @ u, 0), "tanh": x @ u, "x tanh x": (x @ u) ** 2}[name]
    residual = y - np.asarray(jax.vmap(model)(x))
    np.testing.assert_allclose(image, shape @ residual / len(x), rtol=1e-10)
    strength = lambda u: np.sum(effect.lowest(u) ** 2) / 2  # noqa: E731
    quotient = [(strength(u + h * e) - strength(u - h * e)) / (2 * h) for e in np.eye(2)]
    np.testing.assert_allclose(slope, quotient, rtol=1e-6)
