r"""Whether the gradient has a derivative at a point, and the loss along rays where it has none."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..rounding import gradient_changes
from .spectrum import DENSE_HESSIAN_LIMIT

# Random directions in which kinks are looked for, with their opposites: a rectified unit is seen in half of them. In
# large networks, where a gradient takes longer, some of the many units are seen in any.
DIRECTIONS, IN_LARGE = 16, 2
# Distances, as shares of the weights, at which the gradient is compared with the Hessian. What is left shrinks a
# hundredfold from one to the next where there is a third derivative, and stays where there is a kink.
FAR, NEAR = 1e-6, 1e-8
SHRINKS = 0.3


# A plain dataclass: searches call its methods thousands of times, and Equinox makes a module of each bound method.
@dataclass(frozen=True)
class Rays:
    r"""The form $F_2(d) = \langle g(d), d \rangle / 2$, g being the derivative of $\nabla L$ along the ray d.

    Attributes:
        landscape: the loss L.
        theta: where the rays begin.
        gradient: there.
        size: of the weights.
    """

    landscape: Landscape
    theta: Float[np.ndarray, " n"]
    gradient: Float[np.ndarray, " n"]
    size: float

    def slope(self, d: Float[np.ndarray, " n"], share: float = NEAR) -> Float[np.ndarray, " n"]:
        """g(d), of a unit vector d."""
        distance = share * self.size
        return (self.landscape.gradient(self.theta + distance * d) - self.gradient) / distance

    def form(self, d: Float[np.ndarray, " n"]) -> tuple[float, Float[np.ndarray, " n"]]:
        """The form, which is homogeneous of degree 2, and its gradient g."""
        slope = self.slope(d)
        return float(slope @ d) / 2, slope

    def directions(self) -> Float[np.ndarray, "k n"]:
        """Random unit vectors and their opposites, the same in each call."""
        n = self.theta.size
        rows = np.random.default_rng(4).standard_normal((IN_LARGE if n > DENSE_HESSIAN_LIMIT else DIRECTIONS, n))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return np.concatenate([rows, -rows])


def rays_from(
    landscape: Landscape, theta: Float[np.ndarray, " n"], start: Float[np.ndarray, " n"] | None = None
) -> Rays:
    """The rays from a point; the weights' size is that at the point or, if they vanish there, at another point."""
    norms = [float(np.linalg.norm(point)) for point in (theta, theta if start is None else start)]
    return Rays(landscape=landscape, theta=theta, gradient=landscape.gradient(theta), size=max(norms) or 1.0)


def is_kinked(rays: Rays, *, safety: float) -> bool:
    """Whether the gradient changes along some ray by more than the Hessian says, however near.

    Args:
        rays: from the point.
        safety: errors of rounding up to which a difference is none.

    Returns:
        Whether it does: then the Hessian that automatic differentiation gives says nothing of the loss.
    """
    directions, theta = rays.directions(), rays.theta
    if not theta.size:
        return False
    products = rays.landscape.hessian_products(theta, directions.T).T
    far, near = (
        np.array([np.linalg.norm(rays.slope(d, share) - p) for d, p in zip(directions, products, strict=True)])
        for share in (FAR, NEAR)
    )
    if not np.any(suspected := near > SHRINKS * far):
        return False
    noise = float(np.max(np.linalg.norm(gradient_changes(rays.landscape, theta), axis=1))) / (NEAR * rays.size)
    # Where the weights are zero so is that noise, and what is left is rounding of the products.
    noise += np.finfo(theta.dtype).eps * float(np.max(np.linalg.norm(products, axis=1))) * theta.size
    return bool(np.any(near[suspected] > safety * noise))
