"""Results that are kept as long as a landscape is."""

import gc
import weakref

import jax.numpy as jnp
import numpy as np
from saddlescope.analysis.found_units import with_units
from saddlescope.analysis.kept import kept
from saddlescope.analysis.rounding import perturbed
from saddlescope.flows import Landscape

from vector import Vector


def landscape(curvature):
    return Landscape(Vector(jnp.ones(2)), lambda model, data: curvature * jnp.sum(model.x**2), None)


def test_a_result_is_computed_once_for_each_landscape():
    asked = []
    value = kept(lambda each: asked.append(each.value(each.theta)) or float(asked[-1]))
    first, second = landscape(1.0), landscape(3.0)
    assert [value(first), value(second), value(first)] == [2.0, 6.0, 2.0]
    assert len(asked) == 2


def test_nothing_keeps_a_landscape_alive():
    of_one = landscape(1.0)
    assert with_units(of_one) is of_one
    assert all(np.any(theta != of_one.theta) for _, theta in perturbed(of_one, of_one.theta))
    alive = weakref.ref(of_one)
    del of_one
    gc.collect()
    assert alive() is None
