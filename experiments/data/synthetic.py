"""Data of known statistics: regression in and out of context, orthogonal points."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...catalogue import check_settings
from ...models.attention import context_statistics
from ...models.initialisation import normal_array, normal_arrays, split_key
from ...models.quick import quickly_compiled

Pair = tuple[Float[Array, "P inputs"], Float[Array, "P outputs"]]


def seed_keys(seed: int) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    """The random keys of one seed's data and of its initial weights.

    Args:
        seed: a signed integer of 64 bits.

    Returns:
        Two independent keys.
    """
    check_settings(seed)
    # As an array, so that seeds of all sizes become what `jax.random.key` makes of them.
    return _seed_keys(np.int64(seed))


@quickly_compiled
def _seed_keys(seed: Int[Any, ""]) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    data, model = jax.random.split(jax.random.key(seed))
    return data, model


def power_law(count: int, exponent: float | int, total: float = 1.0) -> Float[np.ndarray, " count"]:
    r"""Singular values or eigenvalues $s_n \propto n^{-\kappa}$ for n = 1, …, `count`.

    Args:
        count: number of values.
        exponent: κ; 0 makes all of them equal.
        total: their sum.

    Returns:
        The values, falling.
    """
    values = np.arange(1, count + 1.0) ** -exponent
    return total * values / values.sum()


def spectral_regression(
    strengths: Sequence[float] | Float[np.ndarray, " K"],
    variances: Sequence[float] | Float[np.ndarray, " L"] | None = None,
    *,
    key: PRNGKeyArray | None = None,
) -> Pair:
    r"""A linear target whose moments are exact on 2K points.

    $\Sigma_{yx} = \sum_k s_k q_k r_k^\top$, $\Sigma_{xx} = \sum_k d_k r_k r_k^\top$.

    Args:
        strengths: s, the singular values of Σ_yx.
        variances: d, the eigenvalues of Σ_xx, by default 1.
        key: draws the directions $r_k$, $q_k$, by default the axes.

    Returns:
        Inputs and targets.

    Raises:
        ValueError: when there are not as many variances as strengths, or one is not positive.
    """
    s = np.asarray(strengths, dtype=float)
    d = np.ones_like(s) if variances is None else np.asarray(variances, dtype=float)
    if s.shape != d.shape or np.any(d <= 0):
        raise ValueError(f"variances must be positive and as many as strengths; got {d} for {s}.")
    axes = np.sqrt(len(s) * d) * np.eye(len(s))
    square = len(s), len(s)
    inputs, outputs = 2 * (np.eye(len(s)),) if key is None else map(_rotation, normal_arrays(key, (square, square)))
    x = np.concatenate([axes, -axes])
    return jax.device_put((x @ inputs, (x * (s / d)) @ outputs))


def gaussian_inputs(
    samples: int, covariance: Float[np.ndarray, "D D"], *, key: PRNGKeyArray
) -> Float[np.ndarray, "samples D"]:
    r"""Inputs $x \sim N(0, \Sigma)$: standard normal ones times the Cholesky factor of Σ.

    Args:
        samples: number of inputs.
        covariance: Σ.
        key: random key.

    Returns:
        One input per row.
    """
    return np.asarray(normal_array(key, (samples, len(covariance)))) @ np.linalg.cholesky(covariance).T


def gaussian_regression(
    target: Callable[[Array], Array],
    samples: int,
    covariance: Float[np.ndarray, "D D"],
    *,
    noise: float = 0.0,
    key: PRNGKeyArray,
) -> Pair:
    r"""Regression on Gaussian inputs: $x \sim N(0, \Sigma)$ and $y = f^*(x) + \xi$, $\xi \sim N(0, \sigma^2)$.

    Args:
        target: $f^*$ of one input, such as a teacher network.
        samples: number of samples.
        covariance: Σ.
        noise: σ², the variance of the targets' noise.
        key: random key.

    Returns:
        Inputs and targets.
    """
    _check_counts(samples=samples)
    x_key, noise_key = split_key(key, 2)
    x = jax.device_put(gaussian_inputs(samples, covariance, key=x_key))
    y = np.asarray(eqx.filter_jit(eqx.filter_vmap(target))(x))
    return x, jax.device_put(y + math.sqrt(noise) * np.asarray(normal_array(noise_key, y.shape)))


def orthogonal_points(
    sizes: Sequence[float] | Float[np.ndarray, " P"],
    targets: Sequence[float] | Float[np.ndarray, " Q"],
    *,
    key: PRNGKeyArray | None = None,
) -> Pair:
    r"""Orthogonal inputs of given norms, on which ReLU networks fit each sign of the targets by one ray.

    Args:
        sizes: norms $\|x_k\|$ of the inputs.
        targets: their targets $y_k$.
        key: draws the directions, by default the axes.

    Returns:
        Inputs and targets.

    Raises:
        ValueError: when sizes and targets are not vectors of the same length.

    Source: Boursier, Pillaud-Vivien & Flammarion (2022).
    """
    sizes, targets = np.asarray(sizes, dtype=float), np.asarray(targets, dtype=float)
    if sizes.shape != targets.shape or sizes.ndim != 1:
        raise ValueError(
            f"sizes and targets must be vectors of the same length; got shapes {sizes.shape} and {targets.shape}."
        )
    rotation = np.eye(len(sizes)) if key is None else _rotation(normal_array(key, (len(sizes), len(sizes))))
    return jax.device_put((sizes[:, None] * rotation, targets[:, None]))


def in_context_regression(
    covariance: Float[np.ndarray, "D D"],
    context: int,
    sequences: int,
    *,
    noise: float = 0.0,
    normalised: bool = False,
    key: PRNGKeyArray,
) -> tuple[tuple[Float[Array, "P D"], Float[Array, "P D"]], Float[Array, "P 1"]]:
    r"""Sequences of linear regression problems, reduced to what linear attention reads of them: $((\beta, x_q), y_q)$.

    $x \sim N(0, \Lambda)$, $w \sim N(0, I)$ per sequence, $y = w \cdot x + \xi$, $\beta = \sum_n y_n x_n$.
    `saddlescope.flows.in_context_population` has the moments of infinitely many.

    Args:
        covariance: Λ.
        context: number N of examples before the query.
        sequences: number of sequences.
        noise: variance of the noise of the labels in context.
        normalised: divide β by N.
        key: random key.

    Returns:
        $(\beta, x_q)$ and $y_q$ of each sequence.

    Source: Zhang, Singh, Latham & Saxe (2025).
    """
    _check_counts(context=context, sequences=sequences)
    inputs, (values, vectors) = len(covariance), np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    shapes = (sequences, context + 1, inputs), (sequences, inputs)
    x, w = (np.asarray(array) for array in normal_arrays(key, shapes))
    x = x @ root
    y = np.einsum("pnd,pd->pn", x, w)
    labels = np.column_stack([y[:, :-1], np.zeros(sequences)])
    if noise:
        drawn = normal_array(jax.random.fold_in(split_key(key, 2)[1], 1), (sequences, context))
        labels[:, :-1] += math.sqrt(noise) * np.asarray(drawn)
    beta, query = context_statistics(np.concatenate([x, labels[..., None]], axis=-1))
    beta = jax.device_put(np.asarray(beta) / context) if normalised else beta
    return (beta, query), jax.device_put(y[:, -1:])


def _rotation(normal: Float[Array, "n n"]) -> Float[np.ndarray, "n n"]:
    """A random orthogonal matrix, uniformly distributed, from standard normal entries."""
    q, r = np.linalg.qr(np.asarray(normal))
    return q * np.sign(np.diag(r))


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1; got {count}.")
