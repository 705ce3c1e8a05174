r"""Modes of linear networks that grow independently: logistic for two layers, hypergeometric for more."""

from typing import Any

import numpy as np
import scipy
from jaxtyping import Float

# Arguments of one function may be arrays that broadcast; of scalars the result is a scalar.
Numbers = float | int | Float[np.ndarray, "..."]


def logistic_mode(t: Numbers, rate: Numbers, start: Numbers, end: Numbers) -> Numbers:
    r"""The strength u(t) of a balanced mode of a two-layer linear network.

    $\dot u = 2 s u (1 - u / u_\infty)$ has $u(t) = u_\infty / (1 + (u_\infty / u_0 - 1) e^{-2 s t})$. In the time
    of the loss $\frac{1}{2} \langle \|y - f\|^2 \rangle$, with input variance d along the mode, $u_\infty = s / d$.

    Args:
        t: time.
        rate: s, the mode's singular value of $\Sigma_{yx}$, a rate.
        start: $u_0 > 0$, the initial strength.
        end: $u_\infty$, the final strength.

    Returns:
        u(t), of the arguments' common shape.

    Source: Saxe, McClelland & Ganguli (2014), Eq. 7.
    """
    t, rate, start, end = (np.asarray(value, dtype=float) for value in (t, rate, start, end))
    return end / (1 + (end / start - 1) * np.exp(-2 * rate * t))


def logistic_half_time(rate: Numbers, start: Numbers, end: Numbers) -> Numbers:
    r"""The time at which a logistic mode has reached half of its final strength.

    $t = \ln(u_\infty / u_0 - 1) / (2 s)$, from `logistic_mode`.

    Args:
        rate: s, as in `logistic_mode`.
        start: $u_0$, between 0 and $u_\infty$.
        end: $u_\infty$.

    Returns:
        t; negative if the mode starts above one half.

    Source: Saxe, McClelland & Ganguli (2014), from Eq. 7.
    """
    rate, start, end = (np.asarray(value, dtype=float) for value in (rate, start, end))
    return np.log(end / start - 1) / (2 * rate)


def unbalanced_mode_time(u: Numbers, s: float, a0: float, b0: float) -> Numbers:
    r"""The time at which the product u = ab of an unbalanced mode is reached.

    $\dot a = b (s - ab)$, $\dot b = a (s - ab)$ conserves $c = a^2 - b^2$. With $D = \sqrt{c^2 + 4 s^2}$ and
    $u = (c/2) \sinh\theta$, t is the difference of $\frac{1}{D} \ln \frac{D + c + 2 s \tanh(\theta/2)}
    {D - c - 2 s \tanh(\theta/2)}$ between end and start. Balanced weights, $a_0^2 = b_0^2$, raise a `ValueError`: their
    mode is logistic.

    Args:
        u: products ab, between $a_0 b_0$ and s.
        s: the mode's singular value of $\Sigma_{yx}$ for white inputs, positive.
        a0: initial weight $a_0$ of the first layer.
        b0: initial weight $b_0$ of the second layer.

    Returns:
        t, of the shape of u.

    Source: Saxe, McClelland & Ganguli (2014), supplement.
    """
    c, d = _imbalance(s, a0, b0)

    def primitive(product: Any) -> Any:
        half = np.tanh(np.arcsinh(2 * np.asarray(product, dtype=float) / c) / 2)
        return np.log((d + c + 2 * s * half) / (d - c - 2 * s * half)) / d

    return primitive(u) - primitive(a0 * b0)


def unbalanced_mode(t: Numbers, s: float, a0: float, b0: float) -> Numbers:
    r"""The product u = ab of an unbalanced mode at time t: the inverse of `unbalanced_mode_time`.

    With R the quotient under the logarithm, $R = R_0 e^{D t}$, $h = \tanh(\theta/2) = \frac{(D - c) R - (D + c)}{2 s
    (1 + R)}$ and $u = c\, h / (1 - h^2)$, arranged so that nothing cancels at the end of the rise.
    Balanced weights, $a_0^2 = b_0^2$, raise a `ValueError`: their mode is logistic.

    Args:
        t: time.
        s: the mode's singular value of $\Sigma_{yx}$ for white inputs, positive.
        a0: initial weight $a_0$ of the first layer.
        b0: initial weight $b_0$ of the second layer.

    Returns:
        u(t), of the shape of t.

    Source: Saxe, McClelland & Ganguli (2014), supplement, for the equation.
    """
    c, d = _imbalance(s, a0, b0)
    h = np.tanh(np.arcsinh(2 * a0 * b0 / c) / 2)
    inverse = np.exp(-d * np.asarray(t, dtype=float)) * (d - c - 2 * s * h) / (d + c + 2 * s * h)
    # Numerators over R; 2s − D = −c²/(2s + D).
    rest = c**2 / (2 * s + d)
    h, below, above = (d - c) - (d + c) * inverse, (c - rest) + (2 * s + d + c) * inverse, 2 * s + d - c
    return c * h * 2 * s * (1 + inverse) / (below * (above - (rest + c) * inverse))


def _imbalance(s: float, a0: float, b0: float) -> tuple[float, float]:
    r"""The conserved $c = a^2 - b^2 \ne 0$, and $D = \sqrt{c^2 + 4 s^2}$."""
    c = a0**2 - b0**2
    if c == 0:
        raise ValueError("the weights are balanced, a0² = b0²: use logistic_mode.")
    return c, np.sqrt(c**2 + 4 * s**2)


def deep_mode_time(a: Numbers, s: Numbers, depth: int, start: Numbers) -> Numbers:
    r"""The time that a mode of a deep linear network, N balanced layers of strength a each, takes from $a_0$ to a.

    $\dot a = a^{N-1}(s - a^N)$ takes $t = G(a) - G(a_0)$ with
    $G(a) = \frac{a^{2-N}}{(2-N) s}\, {}_2F_1(1, \frac{2-N}{N}; \frac{2}{N}; \frac{a^N}{s})$, and for N = 2
    $G(a) = \frac{1}{2 s} \ln \frac{a^2}{s - a^2}$.

    Args:
        a: strength reached in each layer, $a^N < s$.
        s: the mode's singular value of $\Sigma_{yx}$ for white inputs, positive.
        depth: number N of layers, at least 2.
        start: $a_0 > 0$, the initial strength in each layer.

    Returns:
        t, of the arguments' common shape.

    Raises:
        ValueError: if the depth is below 2.

    Source: Saxe, McClelland & Ganguli (2014), for the equation; derived here: its primitive.
    """
    if depth < 2:
        raise ValueError(f"the depth must be at least 2; got {depth}.")
    s = np.asarray(s, dtype=float)

    def primitive(value: Any) -> Any:
        value = np.asarray(value, dtype=float)
        if depth == 2:
            return np.log(value**2 / (s - value**2)) / (2 * s)
        n = depth
        return value ** (2 - n) / ((2 - n) * s) * scipy.special.hyp2f1(1, (2 - n) / n, 2 / n, value**n / s)

    return primitive(a) - primitive(start)


def deep_escape_time(s: float, depth: int, norm: float) -> float:
    r"""The leading-order time in which a deep linear network leaves the origin along its first mode.

    $t = \|\theta_0\|^{2-N} / ((N - 2) s^*)$ with $s^* = N^{(2-N)/2} s$: the fastest growth of a vector of that norm is
    $\frac{d}{dt} \|\theta\| = s^* \|\theta\|^{N-1}$, for balanced layers that are aligned with the mode.

    Args:
        s: the largest singular value of $\Sigma_{yx}$.
        depth: number N of layers, at least 3.
        norm: $\|\theta_0\|$, the initial norm of all layers together, small.

    Returns:
        t, a lower bound for layers that are not aligned or not balanced.

    Raises:
        ValueError: if the depth is below 3.

    Source: Jacot et al. (2021), "Saddle-to-saddle dynamics in deep linear networks".
    """
    if depth < 3:
        raise ValueError(f"the depth must be at least 3; got {depth}.")
    return float(norm ** (2 - depth) / ((depth - 2) * depth ** ((2 - depth) / 2) * s))


def greedy_low_rank_limit(t: Numbers, eigenvalue: float) -> Numbers:
    r"""The strength m(t) of the first mode of a matrix factorisation with vanishing initial weights.

    The flow $\dot W = (A - W W^\top) W$, seen from the time T of its first escape,
    $e^{2 \mu_1 T} = 1 / \|q_1^\top W(0)\|^2$, has the limit $W W^\top(T + t) \to m(t)\, q_1 q_1^\top$ with
    $m = \mu_1 / (1 + \mu_1 e^{-2 \mu_1 t})$ and an error of $O(\varepsilon^{1 - \mu_2 / \mu_1})$.

    Args:
        t: time since T, of either sign.
        eigenvalue: $\mu_1 > 0$, the largest of A, whose eigenvector is $q_1$.

    Returns:
        m(t), of the shape of t.

    Source: Li, Luo & Lyu (2021), "Towards resolving the implicit bias of gradient descent for matrix factorization".
    """
    return eigenvalue / (1 + eigenvalue * np.exp(-2 * eigenvalue * np.asarray(t, dtype=float)))
