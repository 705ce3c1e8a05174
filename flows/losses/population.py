"""Population losses: exact statistics of infinitely many samples, for models that are linear in features."""

import numpy as np
from jaxtyping import ArrayLike, Float

from .statistics import SufficientStatistics, from_moments


def linear_population(
    covariance: ArrayLike,
    target: ArrayLike,
    *,
    noise: float = 0.0,
    weight: float = 1.0,
) -> SufficientStatistics:
    r"""Linear regression, $y = W^* x + \xi$, for inputs of any distribution and a model linear in x.

    Args:
        covariance: second moments $E[x x^\top]$ of the D inputs, of shape (D, D).
        target: $W^*$, of shape (outputs, D), or (D,) for one output.
        noise: variance of ξ per output.
        weight: w of the loss $w E\|y - f\|^2$.

    Returns:
        The statistics, to be used as data of `statistics_loss`.
    """
    covariance, target = _covariance(covariance), np.atleast_2d(np.asarray(target, dtype=float))
    cross = target @ covariance
    return from_moments(covariance, cross, float(np.sum(target * cross)) + noise * len(target), weight)


def quadratic_population(covariance: ArrayLike, target: ArrayLike, *, weight: float = 1.0) -> SufficientStatistics:
    r"""Quadratic regression, $y_o = x^\top A_o x$, for $x \sim N(0, \Sigma)$ and a model linear in $x_i x_j$, i ≤ j.

    By Isserlis' theorem $E[x_i x_j x_k x_l] = \Sigma_{ij} \Sigma_{kl} + \Sigma_{ik} \Sigma_{jl} + \Sigma_{il}
    \Sigma_{jk}$.

    Args:
        covariance: Σ, of shape (D, D).
        target: the symmetric $A_o$, of shape (outputs, D, D), or (D, D) for one output.
        weight: w of the loss $w E\|y - f\|^2$.

    Returns:
        The statistics, to be used as data of `statistics_loss`.
    """
    c = _covariance(covariance)
    matrices = np.asarray(target, dtype=float).reshape(-1, *c.shape)
    i, j = np.triu_indices(len(c))
    second = np.outer(c[i, j], c[i, j]) + c[np.ix_(i, i)] * c[np.ix_(j, j)] + c[np.ix_(i, j)] * c[np.ix_(j, i)]
    coefficients = np.where(i == j, 1.0, 2.0) * ((matrices + matrices.transpose(0, 2, 1)) / 2)[:, i, j]
    cross = coefficients @ second
    return from_moments(second, cross, float(np.sum(coefficients * cross)), weight)


def in_context_population(
    covariance: ArrayLike,
    context: float,
    *,
    noise: float = 0.0,
    normalised: bool = False,
    weight: float = 1.0,
) -> SufficientStatistics:
    r"""In-context linear regression for a model linear in $\beta x_q^\top$, $\beta = \sum_{n \le N} y_n x_n$.

    $x \sim N(0, \Lambda)$, $w \sim N(0, I)$ per sequence, $y = w \cdot x + \xi$, the query's label without noise:
    $E[\beta \beta^\top] = N^2 [(1 + 1/N) \Lambda^2 + (\mathrm{tr} \Lambda + \sigma^2) \Lambda / N]$ and
    $E[y_q \beta x_q^\top] = N \Lambda^2$.

    Args:
        covariance: Λ, of shape (D, D).
        context: N, the number of examples in the context.
        noise: variance σ² of the labels in context.
        normalised: whether β is divided by N.
        weight: w of the loss $w E\|y - f\|^2$.

    Returns:
        The statistics, to be used as data of `statistics_loss`.

    Raises:
        ValueError: when the context is empty.

    Source: Zhang, Singh, Latham & Saxe (2025); the noise is our addition.
    """
    if context < 1:
        raise ValueError(f"the context must have at least one example; got {context}.")
    c = _covariance(covariance)
    size = 1 if normalised else context
    beta = size**2 * ((1 + 1 / context) * c @ c + (np.trace(c) + noise) * c / context)
    return from_moments(np.kron(beta, c), size * (c @ c).reshape(1, -1), float(np.trace(c)), weight)


def _covariance(matrix: ArrayLike) -> Float[np.ndarray, "D D"]:
    """Checks that a matrix is symmetric."""
    matrix = np.asarray(matrix, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.allclose(matrix, matrix.T):
        raise ValueError(f"a covariance must be a symmetric matrix; got shape {matrix.shape}.")
    return matrix
