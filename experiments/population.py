"""Infinite data: the moments of Gaussian inputs, as sufficient statistics without sampling error."""

from collections.abc import Sequence

import numpy as np

from ..flows import Statistics, from_moments


def linear_population(covariance: np.ndarray, target: np.ndarray, *, weight: float = 0.5) -> Statistics:
    r"""$y = W^* x$ with $E[xx^\top] = \Sigma$, for networks linear in x.

    **Arguments:** `covariance`: Σ; `target`: W*; `weight`: of a squared residual in the loss.
    """
    cross = target @ covariance
    return from_moments(covariance, cross, float(np.sum(cross * target)), weight)


def attention_population(
    eigenvalues: Sequence[float] | np.ndarray, context: float, *, normalised: bool = False, weight: float = 1.0
) -> Statistics:
    r"""In-context regression, $w \sim N(0, I)$, $x \sim N(0, \Lambda)$, with N examples, loss $E(y - \hat y)^2$.

    The features are the entries of $\beta x_q^\top$, $\beta = \sum_n y_n x_n$: $E[\beta\beta^\top] = N^2 (\Lambda +
    (\Lambda + \mathrm{tr}\Lambda\, I) / N) \Lambda$ and $E[y\, \beta x_q^\top] = N \Lambda^2$.

    **Arguments:** `eigenvalues`: of Λ, which is diagonal; `context`: N, infinite only if `normalised`: whether β is
    divided by N; `weight`: of a squared residual in the loss.

    Source: Zhang, Singh, Latham & Saxe (2025).
    """
    values = np.asarray(eigenvalues, dtype=float)
    scale = 1.0 if normalised else context
    beta = scale**2 * (values + (values + values.sum()) / context) * values
    cross = scale * np.diag(values**2)
    moments = np.kron(np.diag(beta), np.diag(values))
    return from_moments(moments, cross.reshape(1, -1), float(values.sum()), weight)


def quadratic_population(target: np.ndarray) -> Statistics:
    r"""$y = x^\top S x$ with $x \sim N(0, I)$, for quadratic networks with one output, loss $E(y - f)^2$.

    By Wick's theorem $E[x_i x_j x_k x_l] = \delta_{ij}\delta_{kl} + \delta_{ik}\delta_{jl} + \delta_{il}\delta_{jk}$.

    **Arguments:** `target`: S, symmetric.
    """
    first, second = np.triu_indices(len(target))
    delta = np.eye(len(target))
    i, j, k, m = first[:, None], second[:, None], first, second
    moments = delta[i, j] * delta[k, m] + delta[i, k] * delta[j, m] + delta[i, m] * delta[j, k]
    coefficients = np.where(first == second, 1.0, 2.0) * target[first, second]
    cross = coefficients @ moments
    return from_moments(moments, cross[None], float(cross @ coefficients))
