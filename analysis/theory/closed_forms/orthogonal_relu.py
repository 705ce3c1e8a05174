"""ReLU networks on orthogonal inputs: the samples of each sign are learned together."""

import numpy as np
from jaxtyping import Float


def orthogonal_relu_levels(x: Float[np.ndarray, "P D"], y: Float[np.ndarray, " P"]) -> tuple[float, ...]:
    r"""Plateau losses $\langle (y - f)^2 \rangle$ of a two-layer ReLU network with one output on orthogonal inputs.

    The samples of each sign are fitted together by one ray, first the sign whose $\|D_\pm\|$ is larger,
    $D_\pm = \langle y_k x_k \rangle_{\pm y_k > 0}$.

    **Raises:** `ValueError` if the inputs are not orthogonal.

    Source: Boursier, Pillaud-Vivien & Flammarion (2022).
    """
    gram = x @ x.T
    if not np.allclose(gram, np.diag(np.diag(gram)), atol=1e-12 * np.max(np.diag(gram))):
        raise ValueError("not applicable: the inputs are not orthogonal.")
    groups = [y > 0, y < 0]
    groups.sort(key=lambda group: -np.linalg.norm(y[group] @ x[group]))
    losses = [np.mean(y**2)]
    for group in groups:
        if np.any(group):
            losses.append(losses[-1] - np.sum(y[group] ** 2) / len(y))
    return tuple(float(max(loss, 0.0)) for loss in losses)


def orthogonal_relu_rates(x: Float[np.ndarray, "P D"], y: Float[np.ndarray, " P"]) -> tuple[float, ...]:
    r"""$\|D_\pm\|$, falling: the escape rates of `orthogonal_relu_levels`' plateaus for the half squared error.

    The transitions come at $\ln(1/\varepsilon) / \|D_\pm\| + O(1)$.

    Source: Boursier, Pillaud-Vivien & Flammarion (2022).
    """
    groups = [y > 0, y < 0]
    rates = [float(np.linalg.norm(y[group] @ x[group]) / len(y)) for group in groups if np.any(group)]
    return tuple(sorted(rates, reverse=True))


def orthogonal_unit(
    t: Float[np.ndarray, " T"], w: Float[np.ndarray, " k"], a: float, target: Float[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, "T k"], Float[np.ndarray, " T"]]:
    r"""Weights of one ReLU unit on orthonormal inputs as long as it is active on the same ones, exactly.

    It is a linear network of width one: with $q = [w; a]$, $\lambda = a^2 - \|w\|^2$, which is conserved, and
    $F = \begin{pmatrix} -\lambda/2 & y \\ y^\top & \lambda/2 \end{pmatrix}$, the flow $\dot w = a (y - a w)$,
    $\dot a = w \cdot (y - a w)$ has $q(t) = e^{Ft} q(0) / \sqrt{1 + q(0)^\top \int_0^t e^{2Fs} ds\, q(0)}$.

    **Arguments:** `t`: times; `w`: weights on the inputs on which it is active; `a`: its outgoing weight; `target`:
    the targets there. On n inputs $\sqrt\nu e_k$ with $L = \frac{1}{2n} \sum_k (y_k - f(x_k))^2$: the same with
    targets $y / \sqrt\nu$ and time $\nu t / n$.

    Source: Fukumizu (1998); Boursier, Pillaud-Vivien & Flammarion (2022) for the reduction.
    """
    start = np.append(w, a)
    imbalance = a**2 - float(np.sum(np.square(w)))
    form = np.diag(np.append(np.full(len(w), -imbalance / 2), imbalance / 2))
    form[-1, :-1] = form[:-1, -1] = target
    rates, vectors = np.linalg.eigh(form)
    parts, times = vectors.T @ start, np.asarray(t, dtype=float)[:, None]
    flat = np.abs(rates) < 1e-12 * np.max(np.abs(rates))
    safe = np.where(flat, 1.0, rates)
    integrals = np.where(flat, times, np.expm1(2 * safe * times) / (2 * safe))
    grown = np.exp(rates * times) * parts / np.sqrt(1 + integrals @ parts**2)[:, None]
    q = grown @ vectors.T
    return q[:, :-1], q[:, -1]
