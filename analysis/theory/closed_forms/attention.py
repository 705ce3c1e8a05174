r"""Linear attention that learns regression in context: $\hat y = \beta^\top U x_q$, $\beta = \sum y_n x_n / N$."""

import numpy as np
from jaxtyping import Float

from .sigmoids import deep_mode_time


def context_gains(eigenvalues: tuple[float, ...], context: int) -> Float[np.ndarray, " D"]:
    r"""$\lambda_d / (1 + (1 + \mathrm{tr}\Lambda / \lambda_d) / N)$, largest first: what learning a direction removes.

    It follows from $E[\beta\beta^\top] = (1 + 1/N) \Lambda^2 + \mathrm{tr}\Lambda\, \Lambda / N$ for Gaussian inputs.

    **Arguments:** `eigenvalues`: of the covariance Λ of the inputs; `context`: number N of examples.
    """
    values = np.sort(np.asarray(eigenvalues, dtype=float))[::-1]
    return values / (1 + (1 + values.sum() / values) / context)


def linear_attention_levels(eigenvalues: tuple[float, ...], context: int, rank: int = 1) -> tuple[float, ...]:
    r"""Plateau losses $\langle (y - \hat y)^2 \rangle$ of linear attention with separate key and query.

    $L_m = \mathrm{tr}\Lambda - \sum_{d \le m} \lambda_d / (1 + (1 + \mathrm{tr}\Lambda / \lambda_d) / N)$, in the limit
    of many sequences. Heads of rank R learn R directions together: m = 0, R, 2R, …, and D.

    **Arguments:** `eigenvalues`: of the covariance Λ of the inputs; `context`: number N of examples; `rank`: R.

    Source: Zhang, Singh, Latham & Saxe (2025).
    """
    gains = context_gains(eigenvalues, context)
    learned = [*range(0, len(gains), rank), len(gains)]
    return tuple(float(np.sum(eigenvalues) - gains[:m].sum()) for m in learned)


def attention_fixed_point_loss(eigenvalues: tuple[float, ...], context: int, learned: tuple[int, ...]) -> float:
    r"""The loss of any of the $2^D$ fixed points, which know a set S of directions, numbered from 0 in falling order.

    Source: Zhang, Singh, Latham & Saxe (2025).
    """
    return float(np.sum(eigenvalues) - context_gains(eigenvalues, context)[list(learned)].sum())


def merged_attention_levels(eigenvalues: tuple[float, ...], context: int) -> tuple[float, float]:
    r"""The two losses at fixed points of linear attention with merged key and query: $L_0$ and $L_D$.

    It is a two-layer linear network with one output on the cubic feature $\beta x_q^\top$.

    Source: Zhang, Singh, Latham & Saxe (2025).
    """
    levels = linear_attention_levels(eigenvalues, context)
    return levels[0], levels[-1]


def merged_attention_strength(
    t: Float[np.ndarray, "..."], inputs: int, context: int, start: float
) -> Float[np.ndarray, "..."]:
    r"""$u(t)$ with $U = u\, I / \sqrt D$ for merged key and query, Λ = I and aligned, balanced weights.

    $u = (s/b) / (1 + (s/(b u_0) - 1) e^{-2 s t})$, $s = \sqrt D$, $b = 1 + (1 + D)/N$, in the time of
    $L = \frac{1}{2} \langle (y - \hat y)^2 \rangle = \frac{1}{2}(D - 2 s u + b u^2)$.

    **Arguments:** `t`; `inputs`: D; `context`: N; `start`: $u_0$, half the squared norm of all weights.

    Source: Zhang, Singh, Latham & Saxe (2025).
    """
    s, b = np.sqrt(inputs), 1 + (1 + inputs) / context
    return (s / b) / (1 + (s / (b * start) - 1) * np.exp(-2 * s * np.asarray(t, dtype=float)))


def head_half_times(eigenvalues: tuple[float, ...], context: int, start: float) -> Float[np.ndarray, " D"]:
    r"""When aligned heads $v = \|k\| = \|q\|$ of separate rank-one key and query have learned half of their direction.

    $\dot v = A v^2 - C v^5$ with $A = \lambda^2$, $C = \lambda^3 (1 + (1 + \mathrm{tr}\Lambda / \lambda) / N)$: a mode
    of a linear network of three layers with s = A / C, in the time of $L = \frac{1}{2} \langle (y - \hat y)^2
    \rangle$; to leading order $1 / (\lambda^2 v_0)$.

    **Arguments:** `eigenvalues`, `context`; `start`: $v_0$.

    Source: Zhang, Singh, Latham & Saxe (2025) for the equation.
    """
    values = np.sort(np.asarray(eigenvalues, dtype=float))[::-1]
    second = values**4 / context_gains(eigenvalues, context)
    strength = values**2 / second
    return deep_mode_time((strength / 2) ** (1 / 3), strength, 3, start) / second
