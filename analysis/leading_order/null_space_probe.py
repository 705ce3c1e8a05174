"""What the loss does along the null space of a positive semidefinite Hessian."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..curvature.spectrum import Spectrum

# Random directions of the null space, each tried both ways.
PROBES = 8
# Displacement relative to the weights: far enough that a quartic term (1e-8) stands clear of rounding.
DISPLACEMENT = 1e-2
# Newton corrections with the Hessian kept fixed converge linearly, by about the displacement each.
CORRECTIONS = 20


class NullProbe(eqx.Module):
    r"""The loss at critical-but-for-the-null-space points beside a critical point.

    From $\theta^* + \delta d$, d a unit vector of the null space, the other coordinates are relaxed to where the
    gradient has no component outside the null space; this takes the coupling between them into account.

    - `changes`: $L - L^*$ there, for each probe and both signs of d;
    - `gradient`: the largest $\|\nabla L\|$ left there;
    - `order`: the p of $|L - L^*| \propto \delta^p$, from halving δ, for the largest fall, or for the largest change
      where the loss falls nowhere.
    """

    changes: Float[np.ndarray, " k"]
    gradient: float
    order: int


def probe_null_space(
    landscape: Landscape, theta: Float[np.ndarray, " n"], spectral: Spectrum, *, weight_scale: float
) -> NullProbe:
    """Probes the loss along random directions of the null space.

    **Arguments:** `landscape`, `theta`: the critical point; `spectral`: its spectrum, positive semidefinite;
    `weight_scale`: the size of weights at full use, since at the origin the point itself has none.
    """
    null_space = spectral.null_space
    kept = np.abs(spectral.eigenvalues) > spectral.zero_threshold
    vectors, values = spectral.eigenvectors[:, kept], spectral.eigenvalues[kept]
    base = float(landscape.value(theta))
    weights = np.random.default_rng(0).standard_normal((PROBES, null_space.shape[1]))
    if null_space.shape[1] == 1:
        weights = weights[:1]
    directions = weights @ null_space.T
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions = np.concatenate([directions, -directions])
    size = DISPLACEMENT * max(float(np.linalg.norm(theta)), weight_scale)

    def change(direction: np.ndarray, distance: float) -> tuple[float, float]:
        """The change of the loss and the gradient that is left, the coordinates off the null space relaxed."""
        point = theta + distance * direction
        for _ in range(CORRECTIONS):
            point = point - vectors @ ((vectors.T @ landscape.gradient(point)) / values)
        value, gradient = landscape.value_and_gradient(point)
        return float(value) - base, float(np.linalg.norm(gradient))

    changes, gradients = (np.array(column) for column in zip(*(change(d, size) for d in directions), strict=True))
    extreme = int(np.argmin(changes) if changes.min() < 0 else np.argmax(changes))
    half = change(directions[extreme], size / 2)[0]
    order = round(float(np.log2(abs(changes[extreme] / half)))) if half and changes[extreme] else 0
    return NullProbe(changes, float(np.max(gradients)), order)
