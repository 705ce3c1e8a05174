"""Negative eigenvalues from products: as many as the dense matrix has, and what is said of those that were missed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis.curvature import lowest
from saddlescope.analysis.curvature.lowest import negative_eigenvalues
from saddlescope.analysis.curvature.spectrum import hessian
from saddlescope.flows import Landscape


def symmetric(values, seed=0):
    vectors = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))[0]
    return (vectors * values) @ vectors.T


def test_multiple_and_small_negative_eigenvalues_are_counted():
    """Ninety in three eigenspaces, and two small ones beside two hundred zeros."""
    values = np.concatenate(
        [np.repeat([-0.9, -0.5, -0.05], 30), [-1e-3, -1e-4], np.zeros(200), np.linspace(0.1, 3, 108)]
    )
    matrix = symmetric(values)
    found = negative_eigenvalues(lambda v: matrix @ v, len(values), zero_threshold=1e-9)
    assert found.complete and found.index == 92
    np.testing.assert_allclose(found.values, np.sort(values)[:92], atol=1e-8)
    residuals = np.linalg.norm(matrix @ found.vectors - found.vectors * found.values, axis=0)
    assert np.max(residuals) < 1e-7
    assert -0.5 < found.none_below <= 0


def test_a_positive_semidefinite_matrix_has_none():
    matrix = symmetric(np.concatenate([np.zeros(150), np.linspace(0.01, 1, 150)]))
    found = negative_eigenvalues(lambda v: matrix @ v, 300, zero_threshold=1e-10)
    assert found.complete and found.index == 0 and found.vectors.shape == (300, 0)


@pytest.mark.parametrize(("size", "products"), [(300, 60), (66_000, 190)])
def test_a_space_of_many_products_misses_little_of_the_spectrum(size, products):
    r"""By Kuczyński & Woźniakowski the share ε is missed with probability $1.648 \sqrt{n}\, e^{-\sqrt{ε}(2k - 1)}$."""
    share = lowest._missed(products, size)
    assert 1.648 * np.sqrt(size) * np.exp(-np.sqrt(share) * (2 * products - 1)) == pytest.approx(1e-6)
    # Ritz values from −1 to 3, where either end of the true spectrum lies a share of its width beyond.
    values = np.linspace(-1.0, 3.0, products)
    width = 4.0 / (1 - 2 * share)
    assert lowest._rest(values, share) == pytest.approx(3.0 + share * width)
    # Below the lowest Ritz value by that share of what lies between it and the largest eigenvalue.
    below = lowest._none_below(values, share, radius=3.0)
    assert values[0] - below == pytest.approx(share * (3.0 - below))


def test_an_invariant_space_misses_nothing():
    """Of a matrix with three distinct eigenvalues three products tell all, at any size."""
    values = np.concatenate([np.full(5, -1.0), np.zeros(200), np.full(5, 2.0)])
    matrix = symmetric(values)
    found = negative_eigenvalues(lambda v: matrix @ v, len(values), zero_threshold=1e-9)
    assert found.complete and found.index == 5 and found.products < 30
    assert abs(found.none_below) < 1e-12 and found.rest == pytest.approx(2.0)


def test_a_search_that_ends_early_says_at_least():
    values = np.concatenate([-np.linspace(0.01, 1, 300), np.linspace(0.01, 1, 300)])
    matrix = symmetric(values)
    found = negative_eigenvalues(lambda v: matrix @ v, 600, products=150)
    assert not found.complete and 0 < found.index < 300
    assert "at least" in found.summary and found.none_below == -np.inf
    # Interlacing: each Ritz value is at least the eigenvalue of its rank.
    assert np.all(found.values >= np.sort(values)[: len(found.values)] - 1e-12)


class Recurrent(eqx.Module):
    cell: eqx.Module
    out: eqx.nn.Linear

    def __call__(self, x):
        start = jnp.zeros(self.cell.hidden_size)
        return self.out(jax.lax.scan(lambda h, z: (self.cell(z, h), None), start, x)[0])


class Attention(eqx.Module):
    attention: eqx.nn.MultiheadAttention
    norm: eqx.nn.LayerNorm
    out: eqx.nn.Linear

    def __call__(self, x):
        z = jax.vmap(self.norm)(x)
        return self.out(jnp.mean(x + self.attention(z, z, z), axis=0))


def network(kind, size, key):
    a, b = jax.random.split(key)
    if kind == "tanh":
        return eqx.nn.MLP(6, 3, size, 1, activation=jnp.tanh, key=a)
    if kind == "gelu":
        return eqx.nn.MLP(6, 3, size, 2, activation=jax.nn.gelu, key=a)
    if kind == "linear":
        return eqx.nn.MLP(6, 3, size, 2, activation=lambda z: z, use_bias=False, use_final_bias=False, key=a)
    if kind == "recurrent":
        return Recurrent(eqx.nn.GRUCell(6, size, key=a), eqx.nn.Linear(size, 3, key=b))
    if kind == "attention":
        attention = eqx.nn.MultiheadAttention(2, 6, qk_size=size, vo_size=size, key=a)
        return Attention(attention, eqx.nn.LayerNorm(6), eqx.nn.Linear(6, 3, key=b))
    pooled = eqx.nn.Lambda(lambda z: jnp.mean(jnp.tanh(z), axis=1))
    layers = [eqx.nn.Lambda(jnp.transpose), eqx.nn.Conv1d(6, size, 2, key=a), pooled, eqx.nn.Linear(size, 3, key=b)]
    return eqx.nn.Sequential(layers)


def cross_entropy(model, data):
    x, y = data
    outputs = jax.vmap(model)(x)
    return jnp.mean(jax.nn.logsumexp(outputs, axis=1) - jnp.sum(outputs * y, axis=1))


def landscape(kind, size, seed):
    random, sequence = np.random.default_rng(seed), kind in ("recurrent", "attention", "convolution")
    x = random.standard_normal((30, 4, 6) if sequence else (30, 6))
    y = np.eye(3)[random.integers(0, 3, 30)]
    return Landscape(network(kind, size, jax.random.key(seed)), cross_entropy, (jnp.asarray(x), jnp.asarray(y)))


def agrees(problem):
    """Index and eigenvalues of the dense Hessian, beyond the widest gap within a decade about 1e-4 of the largest.

    At random weights the spectrum is continuous down to zero, where no search by products comes to an end.
    """
    theta = problem.theta
    values = np.linalg.eigvalsh(hessian(problem))
    radius = np.max(np.abs(values))
    low, high = 3e-5 * radius, 3e-4 * radius
    levels = np.sort(np.concatenate([[low, high], -values[(values < -low) & (values > -high)]]))
    widest = int(np.argmax(np.diff(np.log(levels))))
    zero = float(np.sqrt(levels[widest] * levels[widest + 1]))
    found = negative_eigenvalues(lambda v: problem.hessian_product(theta, v), theta.size, zero_threshold=zero)
    negative = values[values < -zero]
    assert found.complete and found.index == len(negative)
    np.testing.assert_allclose(found.values, negative, atol=1e-7 * radius)


@pytest.mark.parametrize("kind", ["tanh", "recurrent"])
@pytest.mark.fast_for("tanh")
def test_the_index_of_small_networks(kind):
    agrees(landscape(kind, 5, 0))


KINDS = ("tanh", "gelu", "linear", "recurrent", "attention", "convolution")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size", "seed"), [(kind, 6 + 4 * seed, seed) for kind in KINDS for seed in (1, 2, 3)])
def test_the_index_of_networks_of_six_kinds(kind, size, seed):
    """At random weights, where both signs are many."""
    agrees(landscape(kind, size, seed))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gelu", "convolution"])
def test_the_index_of_networks_of_a_thousand_parameters(kind):
    agrees(landscape(kind, 28 if kind == "gelu" else 70, 4))
