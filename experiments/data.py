"""Data of known statistics: regression in and out of context, orthogonal points, cyclic shifts."""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..models import context_statistics

Pair = tuple[Float[Array, "P inputs"], Float[Array, "P outputs"]]


def power_law(count: int, exponent: float, total: float = 1.0) -> Float[np.ndarray, " count"]:
    r"""$s_n \propto n^{-\kappa}$ for n = 1, …, `count`, with the given sum.

    **Arguments:** `exponent`: κ; 0 ties all of them.
    """
    values = np.arange(1, count + 1.0) ** -exponent
    return total * values / values.sum()


def spectral_regression(
    strengths: Float[np.ndarray, " K"],
    variances: Float[np.ndarray, " K"] | None = None,
    *,
    key: PRNGKeyArray | None = None,
) -> Pair:
    r"""A linear target whose moments are exact on 2K points: $\Sigma_{yx} = \sum s_k q_k r_k^\top$, $\Sigma_{xx} = \sum
    d_k r_k r_k^\top$.

    **Arguments:** `strengths`: s; `variances`: d, by default 1; `key`: draws the directions $r_k$, $q_k$, by default
    the axes.
    """
    s = np.asarray(strengths, dtype=float)
    d = np.ones_like(s) if variances is None else np.asarray(variances, dtype=float)
    if s.shape != d.shape or np.any(d <= 0):
        raise ValueError(f"variances must be positive and as many as strengths; got {d} for {s}.")
    axes = np.sqrt(len(s) * d) * np.eye(len(s))
    inputs, outputs = (jnp.eye(len(s)),) * 2 if key is None else (_rotation(k, len(s)) for k in jax.random.split(key))
    x = jnp.asarray(np.concatenate([axes, -axes]))
    return x @ inputs, (x * (s / d)) @ outputs


def gaussian_regression(
    target: Callable[[Array], Array],
    samples: int,
    covariance: Float[np.ndarray, "D D"],
    *,
    noise: float = 0.0,
    key: PRNGKeyArray,
) -> Pair:
    r"""$x \sim N(0, \Sigma)$ and $y = f^*(x) + \xi$, $\xi \sim N(0, \sigma^2)$.

    **Arguments:** `target`: $f^*$ of one input, like a teacher network; `samples`: their number; `covariance`: Σ;
    `noise`: σ²; `key`: random key.
    """
    _check_counts(samples=samples)
    x_key, noise_key = jax.random.split(key)
    x = jax.random.multivariate_normal(x_key, jnp.zeros(len(covariance)), jnp.asarray(covariance), (samples,))
    y = jax.vmap(target)(x)
    return x, y + math.sqrt(noise) * jax.random.normal(noise_key, y.shape)


def orthogonal_points(
    sizes: Float[np.ndarray, " P"], targets: Float[np.ndarray, " P"], *, key: PRNGKeyArray | None = None
) -> Pair:
    r"""Orthogonal inputs of given norms, on which ReLU networks fit each sign of the targets by one ray.

    **Arguments:** `sizes`: $\|x_k\|$; `targets`: $y_k$; `key`: draws the directions, by default the axes.

    Source: Boursier, Pillaud-Vivien & Flammarion (2022).
    """
    sizes, targets = np.asarray(sizes, dtype=float), np.asarray(targets, dtype=float)
    if sizes.shape != targets.shape or sizes.ndim != 1:
        raise ValueError(f"sizes and targets must be as many; got shapes {sizes.shape} and {targets.shape}.")
    rotation = jnp.eye(len(sizes)) if key is None else _rotation(key, len(sizes))
    return jnp.asarray(sizes)[:, None] * rotation, jnp.asarray(targets)[:, None]


def in_context_regression(
    covariance: Float[np.ndarray, "D D"],
    context: int,
    sequences: int,
    *,
    noise: float = 0.0,
    normalised: bool = False,
    key: PRNGKeyArray,
) -> tuple[tuple[Float[Array, "P D"], Float[Array, "P D"]], Float[Array, "P 1"]]:
    r"""Sequences of linear regression problems, as what linear attention reads of them: $((\beta, x_q), y_q)$.

    $x \sim N(0, \Lambda)$, $w \sim N(0, I)$ per sequence, $y = w \cdot x + \xi$, $\beta = \sum_n y_n x_n$.
    `saddlescope.flows.in_context_population` has the moments of infinitely many.

    **Arguments:** `covariance`: Λ; `context`: number N of examples before the query; `sequences`: their number;
    `noise`: variance of the labels in context; `normalised`: divide β by N; `key`: random key.

    Source: Zhang, Singh, Latham & Saxe (2025).
    """
    _check_counts(context=context, sequences=sequences)
    x_key, w_key = jax.random.split(key)
    inputs, (values, vectors) = len(covariance), jnp.linalg.eigh(jnp.asarray(covariance))
    root = (vectors * jnp.sqrt(jnp.maximum(values, 0.0))) @ vectors.T
    x = jax.random.normal(x_key, (sequences, context + 1, inputs)) @ root
    y = jnp.einsum("pnd,pd->pn", x, jax.random.normal(w_key, (sequences, inputs)))
    labels = y.at[:, -1].set(0.0)
    if noise:
        noisy = math.sqrt(noise) * jax.random.normal(jax.random.fold_in(w_key, 1), labels[:, :-1].shape)
        labels = labels.at[:, :-1].add(noisy)
    beta, query = context_statistics(jnp.concatenate([x, labels[..., None]], axis=-1))
    return (beta / context if normalised else beta, query), y[:, -1:]


def fourier_template(
    length: int, amplitudes: Mapping[int, float], *, key: PRNGKeyArray | None = None
) -> Float[np.ndarray, " length"]:
    r"""A real template of given $|\hat x(\xi)|$ and zero mean.

    **Arguments:** `length`: p; `amplitudes`: $|\hat x|$ by frequency, 1 to p/2; `key`: draws the phases, by default 0.
    """
    frequencies = list(amplitudes)
    if not all(1 <= frequency <= length // 2 for frequency in frequencies):
        raise ValueError(f"frequencies must lie between 1 and {length // 2}; got {frequencies}.")
    phases = np.zeros(len(frequencies))
    if key is not None:
        phases = np.asarray(jax.random.uniform(key, (len(frequencies),), maxval=2 * np.pi))
    spectrum = np.zeros(length // 2 + 1, complex)
    spectrum[frequencies] = np.array(list(amplitudes.values())) * np.exp(1j * phases)
    if length % 2 == 0:
        # The highest frequency of an even length is real.
        spectrum[-1] = np.abs(spectrum[-1])
    return np.fft.irfft(spectrum, length)


def modular_addition(template: Float[np.ndarray, " p"]) -> Pair:
    r"""All p² sums modulo p, on cyclic shifts of a template: inputs $[x_a, x_b]$, targets $x_{a + b}$.

    Source: Kunin et al. (2025), Section 6.
    """
    p = len(template)
    shifts = jnp.stack([jnp.roll(jnp.asarray(template), a) for a in range(p)])
    a, b = np.divmod(np.arange(p * p), p)
    return jnp.concatenate([shifts[a], shifts[b]], axis=1), shifts[(a + b) % p]


def _rotation(key: PRNGKeyArray, size: int) -> Float[Array, "n n"]:
    """A random orthogonal matrix, uniformly distributed."""
    q, r = jnp.linalg.qr(jax.random.normal(key, (size, size)))
    return q * jnp.sign(jnp.diag(r))


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1; got {count}.")
