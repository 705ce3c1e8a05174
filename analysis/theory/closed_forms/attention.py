r"""Linear attention that learns regression in context: $\hat y = \beta^\top U x_q$, $\beta = \sum y_n x_n / N$."""

import numpy as np
from jaxtyping import Float

from .sigmoids import Numbers, deep_mode_time


def context_gains(eigenvalues: tuple[float, ...], context: int) -> Float[np.ndarray, " D"]:
    r"""The loss that learning each eigendirection removes.

    $g_d = \lambda_d / (1 + (1 + \mathrm{tr}\Lambda / \lambda_d) / N)$, which follows from
    $E[\beta\beta^\top] = (1 + 1/N) \Lambda^2 + \mathrm{tr}\Lambda\, \Lambda / N$ for Gaussian inputs.

    Args:
        eigenvalues: of the covariance Λ of the inputs, positive, in any order.
        context: number N of examples in a sequence.

    Returns:
        One gain per eigendirection, decreasing.

    Source: Zhang, Singh, Latham & Saxe (2025).
    """
    values = np.sort(np.asarray(eigenvalues, dtype=float))[::-1]
    return values / (1 + (1 + values.sum() / values) / context)


def linear_attention_levels(eigenvalues: tuple[float, ...], context: int, rank: int = 1) -> tuple[float, ...]:
    r"""Plateau losses $\langle (y - \hat y)^2 \rangle$ of linear attention with separate key and query.

    $L_m = \mathrm{tr}\Lambda - \sum_{d \le m} \lambda_d / (1 + (1 + \mathrm{tr}\Lambda / \lambda_d) / N)$, in the limit
    of many sequences. Heads of rank R learn R directions together: m = 0, R, 2R, …, and D.

    Args:
        eigenvalues: of the covariance Λ of the inputs, positive, in any order.
        context: number N of examples in a sequence.
        rank: R of key and query.

    Returns:
        The losses from the first plateau to the end.

    Source: Zhang, Singh, Latham & Saxe (2025).
    """
    gains = context_gains(eigenvalues, context)
    learned = [*range(0, len(gains), rank), len(gains)]
    return tuple(float(np.sum(eigenvalues) - gains[:m].sum()) for m in learned)


def attention_fixed_point_loss(eigenvalues: tuple[float, ...], context: int, learned: tuple[int, ...]) -> float:
    r"""The loss $\mathrm{tr}\Lambda - \sum_{d \in S} g_d$ of a fixed point; there is one for each of the $2^D$ sets S.

    The gains $g_d$ are those of `context_gains`.

    Args:
        eigenvalues: of the covariance Λ of the inputs, positive, in any order.
        context: number N of examples in a sequence.
        learned: the set S of learned directions, numbered from 0 by decreasing eigenvalue.

    Returns:
        $\langle (y - \hat y)^2 \rangle$.

    Source: Zhang, Singh, Latham & Saxe (2025).
    """
    return float(np.sum(eigenvalues) - context_gains(eigenvalues, context)[list(learned)].sum())


def merged_attention_levels(eigenvalues: tuple[float, ...], context: int) -> tuple[float, float]:
    r"""The losses $L_0$ and $L_D$ of the two fixed points of linear attention with merged key and query.

    It is a two-layer linear network with one output on the cubic feature $\beta x_q^\top$; the losses are those of
    `linear_attention_levels`.

    Args:
        eigenvalues: of the covariance Λ of the inputs, positive, in any order.
        context: number N of examples in a sequence.

    Returns:
        The loss of the plateau and that of the end.

    Source: Zhang, Singh, Latham & Saxe (2025).
    """
    levels = linear_attention_levels(eigenvalues, context)
    return levels[0], levels[-1]


def merged_attention_strength(t: Numbers, inputs: int, context: int, start: float) -> Numbers:
    r"""The strength u(t) of $U = u\, I / \sqrt D$ for merged key and query, Λ = I and aligned, balanced weights.

    $u = (s/b) / (1 + (s/(b u_0) - 1) e^{-2 s t})$, $s = \sqrt D$, $b = 1 + (1 + D)/N$, in the time of
    $L = \frac{1}{2} \langle (y - \hat y)^2 \rangle = \frac{1}{2}(D - 2 s u + b u^2)$.

    Args:
        t: time.
        inputs: dimension D of the inputs.
        context: number N of examples in a sequence.
        start: $u_0 > 0$, half the squared norm of all weights.

    Returns:
        u(t), of the shape of t.

    Source: Zhang, Singh, Latham & Saxe (2025).
    """
    s, b = np.sqrt(inputs), 1 + (1 + inputs) / context
    return (s / b) / (1 + (s / (b * start) - 1) * np.exp(-2 * s * np.asarray(t, dtype=float)))


def head_half_times(eigenvalues: tuple[float, ...], context: int, start: float) -> Float[np.ndarray, " D"]:
    r"""The times at which aligned heads $v = \|k\| = \|q\|$ of separate rank-one key and query are half learned.

    $\dot v = A v^2 - C v^5$ with $A = \lambda^2$, $C = \lambda^3 (1 + (1 + \mathrm{tr}\Lambda / \lambda) / N)$: a mode
    of a linear network of three layers with s = A / C, in the time of $L = \frac{1}{2} \langle (y - \hat y)^2
    \rangle$, which has reached half of its final $v^3$; to leading order $1 / (\lambda^2 v_0)$.

    Args:
        eigenvalues: of the covariance Λ of the inputs, positive, in any order.
        context: number N of examples in a sequence.
        start: $v_0 > 0$, the same for all heads.

    Returns:
        One time per direction, by decreasing eigenvalue.

    Source: Zhang, Singh, Latham & Saxe (2025), for the equation.
    """
    values = np.sort(np.asarray(eigenvalues, dtype=float))[::-1]
    second = values**4 / context_gains(eigenvalues, context)
    strength = values**2 / second
    return deep_mode_time((strength / 2) ** (1 / 3), strength, 3, start) / second
