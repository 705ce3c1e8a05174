"""Itineraries of every architecture by declared units, and by those found in the same model without its declaration."""

import warnings
from typing import Any

import equinox as eqx
import numpy as np
import pytest
from saddlescope.analysis import itinerary
from saddlescope.flows import mean_squared_error, simulate
from saddlescope.models import scaled
from saddlescope.models.units import layers_of

from architectures import MODELS, problem

# Flows of units of this size reach their first saddle and most leave it. A transformer of five factors would stay for
# 10⁵ where it starts, at one of many saddles around zero.
SCALE, LARGER, HORIZON = 1e-2, {"linear-transformer": 0.3}, 40.0


class Undeclared(eqx.Module):
    """A model without its declaration of units."""

    inner: Any

    def __call__(self, *arguments):
        return self.inner(*arguments)


def visits(model, data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ReLU flows on random data may stop at a kink
        return itinerary(simulate(model, mean_squared_error, data, t1=HORIZON, max_steps=5000))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if layers_of(problem(name).model)])
def test_found_units_give_the_itinerary_of_declared_ones(name):
    model, data = problem(name)
    small = scaled(model, LARGER.get(name, SCALE))
    declared, found = visits(small, data), visits(Undeclared(small), data)
    assert len(declared) == len(found) > 0
    for ours, theirs in zip(declared, found, strict=True):
        assert theirs.kind.name == ours.kind.name
        assert [width.width for width in theirs.effective_widths] == [width.width for width in ours.effective_widths]
        assert (theirs.kind.index, theirs.kind.nullity, theirs.kind.order) == (
            ours.kind.index,
            ours.kind.nullity,
            ours.kind.order,
        )
        np.testing.assert_allclose(theirs.critical_point.loss, ours.critical_point.loss, rtol=1e-6, atol=1e-12)
        assert theirs.passage.time == pytest.approx(ours.passage.time, rel=1e-3, abs=1e-6)
