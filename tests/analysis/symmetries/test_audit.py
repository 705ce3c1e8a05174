"""The conservation audit: known quantities against all, and their drift."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import conservation_audit
from saddlescope.flows import mean_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, incoming, linear, outgoing, relu, scaled
from saddlescope.models.units import with_units

from architectures import problem


def narrow(name, width=2):
    """Few units, so that nested brackets are cheap."""
    model, data = problem(name)
    return scaled(with_units(model, incoming(model)[:width], outgoing(model)[:width]), 0.3), data


# Known and in all: W₁W₁ᵀ − W₂ᵀW₂; none; per head v² − |k|² and |k|² − |q|².
COUNTS = {"linear": (3, 3), "tanh": (0, 0), "attention": (4, 4)}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.fast_for("tanh")
def test_known_quantities_and_all_that_there_are(name):
    model, data = narrow(name)
    flow = simulate(model, mean_squared_error, data, t1=1.0, rtol=1e-8)
    audit = conservation_audit(flow)
    known, total = COUNTS[name]
    assert (audit.known, audit.count.count, audit.unknown) == (known, total, total - known), str(audit)
    assert f"{known} conserved quantities known of {total} in all; " in str(audit)
    assert audit.drift is None or audit.drift < 100 * audit.rtol


def test_drift_follows_the_tolerance():
    """The cheapest proof of gradient flow: at most a hundred tolerances, whatever these are."""
    model = TwoLayer(Dense(linear, inputs=3, outputs=2), width=2, scale=0.5, key=jax.random.key(0))
    data = jax.random.normal(jax.random.key(1), (20, 3)), jax.random.normal(jax.random.key(2), (20, 2))
    drifts = []
    for rtol in (1e-5, 1e-8, 1e-11):
        audit = conservation_audit(simulate(model, mean_squared_error, data, t1=10.0, rtol=rtol))
        assert audit.drift < 100 * rtol
        drifts.append(audit.drift)
    assert drifts[0] > 10 * drifts[1] > 100 * drifts[2] > 0


@pytest.mark.slow
def test_large_models_are_audited_for_what_is_known():
    model = TwoLayer(Dense(relu, inputs=2, outputs=1), width=40, scale=0.1, key=jax.random.key(0))
    data = jnp.array([[1.0, 0.5], [-1.0, 2.0]]), jnp.array([[1.0], [-1.0]])
    audit = conservation_audit(simulate(model, mean_squared_error, data, t1=1.0))
    assert audit.count is None and audit.unknown is None
    assert audit.known == 40
    assert "40 conserved quantities known; drift" in str(audit)
    assert np.isfinite(audit.drift)
