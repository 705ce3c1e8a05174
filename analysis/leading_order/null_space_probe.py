"""The loss along the null space of a positive semidefinite Hessian, by finite displacements."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..curvature.spectrum import Spectrum
from .sphere import normal_vectors

# Random directions of the null space, each tried in both senses.
PROBES = 8
# Displacement relative to the weights: far enough that a quartic term (1e-8) stands clear of rounding.
PROBE_DISPLACEMENT = 1e-2
# Newton corrections with a constant Hessian converge linearly, by about the displacement each.
CORRECTIONS = 20


class NullProbe(eqx.Module):
    r"""The loss at displacements along the null space, the other coordinates relaxed.

    From $\theta^* + \delta d$, d a unit vector of the null space, the other coordinates are relaxed to where the
    gradient has no component outside the null space; this takes the coupling between them into account.

    Attributes:
        changes: $L - L^*$ there, for each probe and both signs of d.
        gradient: the largest $\|\nabla L\|$ left there.
        order: the p of $|L - L^*| \propto \delta^p$, from halving δ, for the largest fall, or for the largest change
            where the loss falls nowhere; 0 where it does not change.
    """

    changes: Float[np.ndarray, " k"]
    gradient: float
    order: int

    def __str__(self) -> str:
        values = f"L − L* from {np.min(self.changes):.3g} to {np.max(self.changes):.3g}"
        left = f"order {self.order}, ‖∇L‖ ≤ {self.gradient:.2g}"
        return f"null space probed in {len(self.changes)} directions: {values}, {left}"


def probe_null_space(
    landscape: Landscape, theta: Float[np.ndarray, " n"], spectral: Spectrum, *, weight_scale: float
) -> NullProbe:
    """Probes the loss along random directions of the null space.

    Args:
        landscape: loss and data.
        theta: the critical point.
        spectral: its spectrum, positive semidefinite and with a null space.
        weight_scale: typical ‖θ‖ after learning, the scale of displacements from the origin.

    Returns:
        Changes of the loss, the gradient left, and the order of the largest change.
    """
    null_space, inverse = spectral.null_space, spectral.pseudo_inverse()
    base = float(landscape.value(theta))
    weights = normal_vectors(PROBES, null_space.shape[1])
    if null_space.shape[1] == 1:
        weights = weights[:1]
    directions = weights @ null_space.T
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions = np.concatenate([directions, -directions])
    size = PROBE_DISPLACEMENT * max(float(np.linalg.norm(theta)), weight_scale)

    def change(direction: np.ndarray, distance: float) -> tuple[float, float]:
        """The change of the loss and the gradient that is left, the coordinates off the null space relaxed."""
        point = theta + distance * direction
        for _ in range(CORRECTIONS):
            point = point - inverse(landscape.gradient(point))
        value, gradient = landscape.value_and_gradient(point)
        return float(value) - base, float(np.linalg.norm(gradient))

    changes, gradients = (np.array(column) for column in zip(*(change(d, size) for d in directions), strict=True))
    extreme = int(np.argmin(changes) if changes.min() < 0 else np.argmax(changes))
    half = change(directions[extreme], size / 2)[0]
    order = round(float(np.log2(abs(changes[extreme] / half)))) if half and changes[extreme] else 0
    return NullProbe(changes=changes, gradient=float(np.max(gradients)), order=order)
