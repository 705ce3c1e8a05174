r"""Modes of linear networks that grow each on its own: logistic for two layers, hypergeometric for more."""

import numpy as np
import scipy
from jaxtyping import Float

Numbers = float | Float[np.ndarray, "..."]


def logistic_mode(t: Numbers, rate: Numbers, start: Numbers, end: Numbers) -> Float[np.ndarray, "..."]:
    r"""$u(t)$ for $\dot u = 2 s u (1 - u / u_\infty)$: a balanced mode of a two-layer linear network.

    $u(t) = u_\infty / (1 + (u_\infty / u_0 - 1) e^{-2 s t})$; in the loss $\frac{1}{2} \langle \|y - f\|^2 \rangle$
    with input variance d along the mode $u_\infty = s / d$.

    **Arguments:** `t`; `rate`: s; `start`: $u_0 > 0$; `end`: $u_\infty$.

    Source: Saxe, McClelland & Ganguli (2014), Eq. 7.
    """
    t, rate, start, end = (np.asarray(value, dtype=float) for value in (t, rate, start, end))
    return end / (1 + (end / start - 1) * np.exp(-2 * rate * t))


def logistic_half_time(rate: Numbers, start: Numbers, end: Numbers) -> Float[np.ndarray, "..."]:
    r"""When a logistic mode has reached half of its end: $t = \ln(u_\infty / u_0 - 1) / (2 s)$."""
    rate, start, end = (np.asarray(value, dtype=float) for value in (rate, start, end))
    return np.log(end / start - 1) / (2 * rate)


def unbalanced_mode_time(u: Numbers, s: float, incoming: float, outgoing: float) -> Float[np.ndarray, "..."]:
    r"""When the product $u = ab$ of $\dot a = b(s - ab)$, $\dot b = a(s - ab)$ is reached from $(a_0, b_0)$.

    With the conserved $c = a_0^2 - b_0^2 \ne 0$, $D = \sqrt{c^2 + 4 s^2}$ and $u = (c/2) \sinh\theta$,
    $t = [\frac{1}{D} \ln \frac{D + c + 2 s \tanh(\theta/2)}{D - c - 2 s \tanh(\theta/2)}]$ between start and end.

    **Arguments:** `u`: the products; `s`: the mode's strength; `incoming`, `outgoing`: $a_0$, $b_0$.

    Source: Saxe, McClelland & Ganguli (2014), supplement.
    """
    c = incoming**2 - outgoing**2
    if c == 0:
        raise ValueError("the weights are balanced, a0² = b0²: use logistic_mode.")
    d = np.sqrt(c**2 + 4 * s**2)

    def primitive(product):
        half = np.tanh(np.arcsinh(2 * np.asarray(product, dtype=float) / c) / 2)
        return np.log((d + c + 2 * s * half) / (d - c - 2 * s * half)) / d

    return primitive(u) - primitive(incoming * outgoing)


def unbalanced_mode(t: Numbers, s: float, incoming: float, outgoing: float) -> Float[np.ndarray, "..."]:
    r"""The product $u = ab$ at time t: the inverse of `unbalanced_mode_time`.

    With R the quotient under the logarithm, $R = R_0 e^{D t}$, $h = \tanh(\theta/2) = \frac{(D - c) R - (D + c)}{2 s
    (1 + R)}$ and $u = c\, h / (1 - h^2)$, arranged so that nothing cancels at the end of the rise.
    """
    c = incoming**2 - outgoing**2
    if c == 0:
        raise ValueError("the weights are balanced, a0² = b0²: use logistic_mode.")
    d = np.sqrt(c**2 + 4 * s**2)
    h = np.tanh(np.arcsinh(2 * incoming * outgoing / c) / 2)
    inverse = np.exp(-d * np.asarray(t, dtype=float)) * (d - c - 2 * s * h) / (d + c + 2 * s * h)
    # Numerators over R; 2s − D = −c²/(2s + D).
    rest = c**2 / (2 * s + d)
    h, below, above = (d - c) - (d + c) * inverse, (c - rest) + (2 * s + d + c) * inverse, 2 * s + d - c
    return c * h * 2 * s * (1 + inverse) / (below * (above - (rest + c) * inverse))


def deep_mode_time(a: Numbers, s: Numbers, depth: int, start: Numbers) -> Float[np.ndarray, "..."]:
    r"""When one mode of a deep linear network, N balanced layers of strength a each, grows from $a_0$ to a.

    $\dot a = a^{N-1}(s - a^N)$ takes $t = G(a) - G(a_0)$ with
    $G(a) = \frac{a^{2-N}}{(2-N) s}\, {}_2F_1(1, \frac{2-N}{N}; \frac{2}{N}; \frac{a^N}{s})$, and for N = 2
    $G(a) = \frac{1}{2 s} \ln \frac{a^2}{s - a^2}$.

    **Arguments:** `a`: strength reached, $a^N < s$; `s`: the mode's singular value; `depth`: N ≥ 2; `start`: $a_0$.

    Source: Saxe, McClelland & Ganguli (2014) for the equation.
    """
    if depth < 2:
        raise ValueError(f"the depth must be at least 2; got {depth}.")
    s = np.asarray(s, dtype=float)

    def primitive(value):
        value = np.asarray(value, dtype=float)
        if depth == 2:
            return np.log(value**2 / (s - value**2)) / (2 * s)
        n = depth
        return value ** (2 - n) / ((2 - n) * s) * scipy.special.hyp2f1(1, (2 - n) / n, 2 / n, value**n / s)

    return primitive(a) - primitive(start)


def deep_escape_time(s: float, depth: int, norm: float) -> float:
    r"""Leading time to leave the origin of a deep linear network along its first mode, N ≥ 3 layers.

    $t = \|\theta_0\|^{2-N} / ((N - 2) s^*)$ with $s^* = N^{(2-N)/2} s$: the steepest growth of a vector of that norm is
    $\frac{d}{dt} \|\theta\| = s^* \|\theta\|^{N-1}$, on balanced layers that are aligned with the mode.

    **Arguments:** `s`: top singular value of $\Sigma_{yx}$; `depth`: N; `norm`: $\|\theta_0\|$ of all layers together.

    Source: Jacot et al. (2021), "Saddle-to-saddle dynamics in deep linear networks".
    """
    if depth < 3:
        raise ValueError(f"the depth must be at least 3; got {depth}.")
    return float(norm ** (2 - depth) / ((depth - 2) * depth ** ((2 - depth) / 2) * s))


def greedy_low_rank_limit(t: Numbers, eigenvalue: float) -> Float[np.ndarray, "..."]:
    r"""The limit of vanishing weights of $\dot W = (A - W W^\top) W$, seen from the time of its first escape.

    With $e^{2 \mu_1 T} = 1 / \|q_1^\top W(0)\|^2$, $W W^\top(T + t) \to m(t)\, q_1 q_1^\top$,
    $m = \mu_1 / (1 + \mu_1 e^{-2 \mu_1 t})$, with error $O(\varepsilon^{1 - \mu_2 / \mu_1})$.

    **Arguments:** `t`: time since T, of any sign; `eigenvalue`: $\mu_1$, the largest of A.

    Source: Li, Luo & Lyu (2021), "Towards resolving the implicit bias of gradient descent for matrix factorization".
    """
    return eigenvalue / (1 + eigenvalue * np.exp(-2 * eigenvalue * np.asarray(t, dtype=float)))
