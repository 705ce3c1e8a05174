"""ReLU networks on orthogonal inputs: the samples of each sign are learned together."""

import numpy as np
from jaxtyping import Float

# Inner products below this share of the largest squared norm are zero to rounding; so are rates below that share.
ZERO = 1e-12


def orthogonal_relu_levels(x: Float[np.ndarray, "P D"], y: Float[np.ndarray, " P"]) -> tuple[float, ...]:
    r"""Plateau losses $\langle (y - f)^2 \rangle$ of a two-layer ReLU network with one output on orthogonal inputs.

    The samples of each sign are fitted together by one ray, first the sign whose $\|D_\pm\|$ is larger,
    $D_\pm = \langle y_k x_k \rangle_{\pm y_k > 0}$: $L_0 = \langle y^2 \rangle$, less the part of one sign on each
    plateau.

    Args:
        x: orthogonal inputs, one row per sample.
        y: targets.

    Returns:
        The losses from the first plateau to the end.

    Raises:
        ValueError: if the inputs are not orthogonal.

    Source: Boursier, Pillaud-Vivien & Flammarion (2022).
    """
    gram = x @ x.T
    if not np.allclose(gram, np.diag(np.diag(gram)), atol=ZERO * np.max(np.diag(gram))):
        raise ValueError("not applicable: the inputs are not orthogonal.")
    groups = [y > 0, y < 0]
    groups.sort(key=lambda group: -np.linalg.norm(y[group] @ x[group]))
    losses = [np.mean(y**2)]
    for group in groups:
        if np.any(group):
            losses.append(losses[-1] - np.sum(y[group] ** 2) / len(y))
    return tuple(float(max(loss, 0.0)) for loss in losses)


def orthogonal_relu_rates(x: Float[np.ndarray, "P D"], y: Float[np.ndarray, " P"]) -> tuple[float, ...]:
    r"""The escape rates $\|D_\pm\|$ of the plateaus of `orthogonal_relu_levels`.

    $D_\pm = \langle y_k x_k \rangle_{\pm y_k > 0}$; the transitions come at $\ln(1/\varepsilon) / \|D_\pm\| + O(1)$ in
    the time of the half squared error.

    Args:
        x: orthogonal inputs, one row per sample.
        y: targets.

    Returns:
        One rate per sign that occurs, decreasing.

    Source: Boursier, Pillaud-Vivien & Flammarion (2022).
    """
    groups = [y > 0, y < 0]
    rates = [float(np.linalg.norm(y[group] @ x[group]) / len(y)) for group in groups if np.any(group)]
    return tuple(sorted(rates, reverse=True))


def orthogonal_unit(
    t: Float[np.ndarray, " T"], w: Float[np.ndarray, " k"], a: float, target: Float[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, "T k"], Float[np.ndarray, " T"]]:
    r"""The exact weights of one ReLU unit on orthonormal inputs, as long as it is active on the same ones.

    It is a linear network of width one: with $q = [w; a]$, $\lambda = a^2 - \|w\|^2$, which is conserved, and
    $F = \begin{pmatrix} -\lambda/2 & y \\ y^\top & \lambda/2 \end{pmatrix}$, the flow $\dot w = a (y - a w)$,
    $\dot a = w \cdot (y - a w)$ has $q(t) = e^{Ft} q(0) / \sqrt{1 + q(0)^\top \int_0^t e^{2Fs} ds\, q(0)}$. On n inputs
    $\sqrt\nu e_k$ with $L = \frac{1}{2n} \sum_k (y_k - f(x_k))^2$ the same holds with targets $y / \sqrt\nu$ and time
    $\nu t / n$.

    Args:
        t: times.
        w: initial weights on the inputs on which the unit is active.
        a: initial outgoing weight.
        target: the targets y on those inputs.

    Returns:
        w(t), one row per time, and a(t).

    Source: Fukumizu (1998); Boursier, Pillaud-Vivien & Flammarion (2022) for the reduction.
    """
    start = np.append(w, a)
    imbalance = a**2 - float(np.sum(np.square(w)))
    form = np.diag(np.append(np.full(len(w), -imbalance / 2), imbalance / 2))
    form[-1, :-1] = form[:-1, -1] = target
    rates, vectors = np.linalg.eigh(form)
    parts, times = vectors.T @ start, np.asarray(t, dtype=float)[:, None]
    zero = np.abs(rates) < ZERO * np.max(np.abs(rates))
    safe = np.where(zero, 1.0, rates)
    integrals = np.where(zero, times, np.expm1(2 * safe * times) / (2 * safe))
    grown = np.exp(rates * times) * parts / np.sqrt(1 + integrals @ parts**2)[:, None]
    q = grown @ vectors.T
    return q[:, :-1], q[:, -1]
