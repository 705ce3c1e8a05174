"""Where a semidefinite form vanishes: the loss along curves, against reductions by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import classify, critical_point
from saddlescope.analysis.curvature.signs import critical_spectrum
from saddlescope.analysis.leading_order.null_space_form import null_space_form
from saddlescope.analysis.leading_order.zero_directions import beyond_the_form
from saddlescope.flows import Landscape

from vector import Vector

TERMS = ("x²y²", "x⁴", "x⁴y", "x⁶", "y⁶", "y⁸", "zx⁴", "zxy", "y¹⁴")


def polynomial(model, data):
    """z² and further terms, in turned coordinates about a centre, above a constant."""
    rotation, centre, coefficients = data
    x, y, z = rotation @ (model.x - centre)
    terms = jnp.stack([x**2 * y**2, x**4, x**4 * y, x**6, y**6, y**8, z * x**4, z * x * y, y**14])
    return 0.25 + z**2 + coefficients @ terms


def landscape(terms):
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
    coefficients, centre = np.array([float(terms.get(name, 0.0)) for name in TERMS]), np.array([0.5, -1.0, 0.75])
    return Landscape(Vector(jnp.asarray(centre)), polynomial, (rotation, centre, coefficients))


@pytest.mark.parametrize(
    ("terms", "order", "rises"),
    [
        # Zero on both axes: what happens there is of sixth order.
        ({"x²y²": 1, "x⁶": 1, "y⁶": 1}, None, True),
        ({"x²y²": 1, "x⁶": -1, "y⁶": 1}, 6, False),
        # Along the first axis y answers, y = −c x²/2, and leaves (a − c²/4) x⁶.
        ({"x²y²": 1, "x⁴y": 1.9, "x⁶": 1, "y⁶": 1}, None, True),
        ({"x²y²": 1, "x⁴y": 2.1, "x⁶": 1, "y⁶": 1}, 6, False),
        # z answers at eighth order only: it does not change the sixth.
        ({"x²y²": 1, "x⁶": 1, "y⁶": 1, "zx⁴": 9.0}, None, True),
        # No second derivative across the zero direction: a fall is a fall, a rise proves nothing.
        ({"x⁴": 1, "y⁸": -1}, 8, False),
        ({"x⁴": 1, "y⁸": 1}, None, False),
        # z answers at the same time, z = −xy, and the rest is as above: y does not answer before z has.
        ({"x²y²": 2, "zxy": 2, "x⁴y": 1.9, "x⁶": 1, "y⁶": 1}, None, True),
        ({"x²y²": 2, "zxy": 2, "x⁴y": 2.1, "x⁶": 1, "y⁶": 1}, 6, False),
        # Two lines of zeros, which are followed; beyond the orders that are examined a fall is seen, not its order.
        ({"x²y²": 1}, None, True),
        ({"x²y²": 1, "y⁶": 1}, None, True),
        ({"x²y²": 1, "y¹⁴": -1e-3}, None, False),
    ],
    ids=str,
)
@pytest.mark.fast_for(
    "{'x²y²': 1}-None-True",
    "{'x²y²': 1, 'x⁶': -1, 'y⁶': 1}-6-False",
    "{'x²y²': 1, 'x⁴y': 1.9, 'x⁶': 1, 'y⁶': 1}-None-True",
    "{'x²y²': 1, 'x⁴y': 2.1, 'x⁶': 1, 'y⁶': 1}-6-False",
)
def test_the_loss_along_zero_directions(terms, order, rises):
    here = landscape(terms)
    found = critical_spectrum(here, here.theta)
    form = null_space_form(here, here.theta, found)
    assert (form.order, form.falls, form.rises) == (4, False, False)
    beyond = beyond_the_form(here, here.theta, found, form, basis=found.null_space)
    assert (beyond.order, beyond.rises) == (order, rises)
    name = "minimum" if rises else "undetermined" if order is None else "degenerate saddle"
    kind = classify(critical_point(here))
    assert (kind.name, kind.order) == (name, order)
    assert "F_4 vanishes" in kind.evidence
