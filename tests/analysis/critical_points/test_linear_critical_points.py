"""Index, nullity and spectrum at every critical point of two-layer linear networks, in closed form.

Baldi & Hornik (1989); Achour, Malgouyres & Gerchinovitz (2024). L = ½‖Y − W2 W1‖², Y = U diag(s) Vᵀ.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import spectrum
from saddlescope.flows import Landscape, half_squared_error
from saddlescope.models import Dense, TwoLayer, linear
from saddlescope.models.units import with_units


def orthogonal(random, n):
    return np.linalg.qr(random.standard_normal((n, n)))[0]


def counts(s, chosen, inputs, width, outputs):
    """Index and nullity at the critical point that has learnt the modes `chosen`, its other units zero."""
    r, rho = len(chosen), int(np.sum(s > 0))
    others = [j for j in range(len(s)) if j not in chosen]
    index = (width - r) * (rho - r) + sum(s[j] > s[i] for i in chosen for j in others)
    ties = sum(s[i] == s[j] and s[i] > 0 for i in chosen for j in others)
    return index, r**2 + (width - r) * (inputs + outputs - 2 * (rho - r)) + ties


def exact_spectrum(s, chosen, inputs, width, outputs):
    """All eigenvalues in the balanced gauge."""
    r, q = len(chosen), len(s)
    others = [j for j in range(q) if j not in chosen]
    values = [s[a] + s[b] for a in chosen for b in chosen] + r**2 * [0.0]
    values += [s[i] + sign * s[j] for i in chosen for j in others for sign in (1, -1)]
    values += [s[i] for i in chosen for _ in range(abs(outputs - inputs))]
    values += [sign * s[j] for j in others for sign in (1, -1) for _ in range(width - r)]
    values += (width - r) * (inputs + outputs - 2 * (q - r)) * [0.0]
    return np.sort(values)


CASES = [
    ((4.0, 2.0, 1.0), 3, 3, 3),
    ((4.0, 2.0, 1.0), 3, 4, 3),
    ((3.0, 2.0), 2, 3, 4),
    ((3.0, 1.0), 4, 2, 2),
    ((2.0, 2.0, 1.0), 3, 3, 3),
    ((3.0, 1.0, 0.0), 3, 4, 3),
]


@pytest.mark.parametrize(("s", "inputs", "width", "outputs"), CASES)
def test_every_subset(s, inputs, width, outputs):
    s, random = np.array(s), np.random.default_rng(0)
    u, v = orthogonal(random, outputs)[:, : len(s)], orthogonal(random, inputs)[:, : len(s)]
    gauge = orthogonal(random, width)
    x = np.sqrt(inputs) * np.eye(inputs)
    data = jnp.asarray(x), jnp.asarray(x @ (u * s @ v.T).T)
    template = TwoLayer(Dense(linear, inputs=inputs, outputs=outputs), width=width, scale=1.0, key=jax.random.key(0))
    learnt = [k for k in range(len(s)) if s[k] > 0]
    for r in range(min(width, len(learnt)) + 1):
        for chosen in itertools.combinations(learnt, r):
            root = np.sqrt(s[list(chosen)])
            w1 = gauge[:, :r] @ (root[:, None] * v[:, list(chosen)].T)
            w2 = (u[:, list(chosen)] * root) @ gauge[:, :r].T
            model = with_units(template, jnp.asarray(w1), jnp.asarray(w2.T))
            found = spectrum(Landscape(model, half_squared_error, data))
            expected = exact_spectrum(s, chosen, inputs, width, outputs)
            np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-9)
            assert (found.index, found.nullity) == counts(s, chosen, inputs, width, outputs)
            assert found.largest_zero < 1e-12 * found.smallest_nonzero


def test_inputs_that_are_not_white_keep_the_counts():
    """A congruence: W1 → W1 Σ^{1/2}, so index and nullity stay what they are."""
    random = np.random.default_rng(1)
    inputs, width, outputs, s = 3, 4, 3, np.array([4.0, 2.0, 1.0])
    u, v = orthogonal(random, outputs), orthogonal(random, inputs)
    root = orthogonal(random, inputs) @ np.diag([0.5, 1.0, 2.0])
    x = np.sqrt(inputs) * root.T  # ⟨xxᵀ⟩ = root rootᵀ
    white = np.linalg.inv(root)
    data = jnp.asarray(x), jnp.asarray(x @ (u * s @ v.T @ white).T)
    template = TwoLayer(Dense(linear, inputs=inputs, outputs=outputs), width=width, scale=1.0, key=jax.random.key(0))
    for r in range(4):
        for chosen in itertools.combinations(range(3), r):
            w1 = np.eye(width)[:, :r] @ (np.sqrt(s[list(chosen)])[:, None] * v[:, list(chosen)].T) @ white
            w2 = (u[:, list(chosen)] * np.sqrt(s[list(chosen)])) @ np.eye(width)[:, :r].T
            model = with_units(template, jnp.asarray(w1), jnp.asarray(w2.T))
            found = spectrum(Landscape(model, half_squared_error, data))
            assert (found.index, found.nullity) == counts(s, chosen, inputs, width, outputs)
