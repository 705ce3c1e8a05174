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
