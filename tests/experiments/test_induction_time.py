"""The induction head of three parameters is a transformer, and its loss has the lowest terms that theory says."""

import jax
import numpy as np
import pytest
from saddlescope.analysis.theory.closed_forms.induction_time import causal_rate, product_rate
from saddlescope.experiments import reproduce
from saddlescope.experiments.setups.induction_circuit import InductionCircuit, circuit_loss, contexts
from saddlescope.flows import Landscape
from saddlescope.flows.landscapes.taylor import third_products
from saddlescope.models import AttentionOnly

PAIRS = 3


def circuit(*parameters):
    previous, matching, copying = map(np.asarray, parameters)
    return InductionCircuit(previous=previous, matching=matching, copying=copying)


def as_transformer(previous, matching, copying):
    """The same as a disentangled transformer of one head per layer: tokens are label, item and position, one-hot."""
    n, length = PAIRS, 2 * PAIRS + 1
    width, k = 2 * n + length, np.arange(n)
    model = AttentionOnly(
        width=width, heads=1, rank=length, disentangled=True, outputs=n, scale=0.0, key=jax.random.key(0)
    )
    first, second = ({name: np.array(getattr(layer, name)) for name in NAMES} for layer in model.layers)
    place = np.arange(length)
    first["query"][0, place, 2 * n + place] = previous
    first["key"][0, place[1:], 2 * n + place[:-1]] = 1.0
    first["value"][0, k, n + k] = first["output"][0, n + k, k] = 1.0
    second["query"][0, k, n + k], second["key"][0, k, width + n + k] = matching, 1.0
    second["value"][0, k, k], second["output"][0, k, k] = 1.0, copying
    leaves = [layer[name] for layer in (first, second) for name in NAMES]
    return jax.tree.unflatten(jax.tree.structure(model), leaves)


NAMES = ("query", "key", "value", "output")


def test_it_is_a_transformer():
    sequences = np.zeros((PAIRS, 2 * PAIRS + 1, 4 * PAIRS + 1))
    n = np.arange(PAIRS)
    sequences[:, 2 * n, PAIRS + n] = sequences[:, 2 * n + 1, n] = 1.0
    sequences[n, -1, PAIRS + n] = 1.0
    sequences[:, np.arange(2 * PAIRS + 1), 2 * PAIRS + np.arange(2 * PAIRS + 1)] = 1.0
    parameters = (1.3, 4.0, 2.5)
    expected = jax.jit(jax.vmap(as_transformer(*parameters)))(sequences)
    padded = np.asarray(circuit(*parameters)(contexts(PAIRS, room=5)))
    np.testing.assert_allclose(padded[:PAIRS, :PAIRS], expected, rtol=1e-13)
    assert np.all(padded[:, PAIRS:] == -np.inf)


@pytest.mark.parametrize("causal", [True, False])
def test_the_lowest_terms_of_the_loss(causal):
    """βγ for causal attention; else αβγ, and no other of third order."""
    landscape = Landscape(circuit(0.0, 0.0, 0.0), circuit_loss, contexts(4, room=6, causal=causal))
    theta, rate = np.zeros(3), causal_rate(4) if causal else 0.0
    assert landscape.value(theta) == pytest.approx(np.log(4), rel=1e-14)
    np.testing.assert_allclose(
        landscape.hessian(theta), -rate * np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0]]), atol=1e-15
    )
    if not causal:
        # D³L(d, d, ·) of −c αβγ.
        (a, b, c), direction = (1.0, 2.0, -0.5), np.array([[1.0], [2.0], [-0.5]])
        expected = -2 * product_rate(4) * np.array([b * c, a * c, a * b])
        np.testing.assert_allclose(third_products(landscape, theta, direction)[:, 0], expected, atol=1e-15)


@pytest.mark.parametrize("arguments", [(1,), (4, 3)])
def test_bad_contexts_are_refused(arguments):
    pairs, *room = arguments
    with pytest.raises(ValueError, match="two pairs"):
        contexts(pairs, room=room[0] if room else None)


@pytest.mark.slow
def test_the_quick_figure_passes():
    assert reproduce("induction-time", quick=True).passed
