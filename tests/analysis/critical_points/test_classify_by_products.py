"""Kinds of points of more than three thousand parameters: the index is counted, and no point is called a minimum."""

import dataclasses
import importlib

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from saddlescope.analysis import classify, critical_point, plot_spectrum
from saddlescope.analysis.critical_points import evidence
from saddlescope.analysis.visits.visit import Visit
from saddlescope.flows import Landscape, half_squared_error
from saddlescope.models import Deep, Dense, linear

from vector import Vector

LIMIT = "DENSE_HESSIAN_LIMIT"


def wells(model, data):
    r"""$\sum_k c_k (1 - x_k^2)^2 / 4$, whose Hessian is $c_k (3 x_k^2 - 1)$: −c where x is 0, 2c where it is ±1."""
    return jnp.sum(data * (1 - model.x**2) ** 2) / 4


@pytest.mark.parametrize("index", [0, 12])
def test_the_index_of_a_large_saddle_is_counted(index):
    random = np.random.default_rng(index)
    exact = np.sign(random.standard_normal(3200))
    exact[:index] = 0
    coefficients = random.uniform(0.5, 2.0, exact.size)
    start = exact + 0.01 * random.standard_normal(exact.size)
    landscape = Landscape(Vector(jnp.asarray(start)), wells, jnp.asarray(coefficients))
    point = critical_point(landscape)
    np.testing.assert_allclose(point.theta, exact, atol=1e-10)
    kind = classify(point)
    if not index:
        # A sum of squares attains zero, which its program shows: nothing is counted.
        assert kind.name == "minimum" and "lower bound" in kind.evidence
        return
    assert kind.name == "strict saddle" and kind.index == index and kind.nullity is None
    np.testing.assert_allclose(kind.negative.values, np.sort(-coefficients[:index]), rtol=1e-7)
    assert "one chance in a million" in kind.evidence
    # Nothing is null, and nothing shows it but the share of one random vector.
    assert kind.zeros.by_symmetry == 0 and kind.zeros.at_most == 3200 - index and kind.zeros.estimate < 1


def test_a_nullity_is_counted_where_few_eigenvalues_are_not_zero():
    random = np.random.default_rng(3)
    coefficients, exact = np.zeros(3200), np.ones(3200)
    coefficients[:20], exact[:7] = random.uniform(0.5, 2.0, 20), 0.0
    kind = classify(critical_point(Landscape(Vector(jnp.asarray(exact)), wells, jnp.asarray(coefficients))))
    assert kind.name == "strict saddle" and kind.index == 7 and kind.nullity == 3180
    assert "nullity 3180, but for one chance in a million: 0 by symmetry, 3180 unexplained" in kind.evidence


@pytest.mark.parametrize("limit", [3000, 0])
def test_the_order_of_a_fall_is_told_only_where_lower_ones_were_sought(monkeypatch, limit):
    """The origin of a linear network of three layers, with a Hessian and by products: order three, index zero."""
    model = Deep(Dense(linear, inputs=2, outputs=2), widths=(2, 2), scale=0.0, key=jax.random.key(0))
    point = critical_point(Landscape(model, half_squared_error, (np.eye(2), np.diag([2.0, 1.0]))))
    monkeypatch.setattr(importlib.import_module("saddlescope.analysis.critical_points.classify"), LIMIT, limit)
    kind = classify(point)
    assert (kind.name, kind.order, kind.index, kind.nullity) == ("degenerate saddle", 3, 0, 12)
    form = dataclasses.replace(kind.added_unit_form, lowest_order=False)
    monkeypatch.setattr(evidence, "added_units_form", lambda *_, **__: form)
    unsure = classify(point)
    assert (unsure.name, unsure.order, unsure.index) == ("degenerate saddle", None, 0)
    assert "order 3" in kind.evidence and "order 3 or lower" in unsure.evidence
    if not limit:
        # Drawn is what the products counted, not that there is no Hessian.
        visit = object.__new__(Visit)
        object.__setattr__(visit, "kind", kind)
        ax = plot_spectrum(visit)
        assert ax.texts[0].get_text().replace("\n", " ") == "by Hessian–vector products 0 negative eigenvalues"
        plt.close(ax.figure)
