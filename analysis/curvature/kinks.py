r"""Whether the gradient has a derivative at a point, and the loss along rays where it has none."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from .spectrum import DENSE_HESSIAN_LIMIT

# Random directions in which kinks are looked for, with their opposites: a rectified unit is seen in half of them. In
# large networks, where a gradient takes longer, some of the many units are seen in any.
DIRECTIONS, IN_LARGE = 16, 2
# Distances, as shares of the weights, at which the gradient is compared with the Hessian: what is left is the same at
# all of them where there is a kink, shrinks with the distance where there is a third derivative, and grows where it is
# rounding. Of a jump of the gradient itself that holds for what is left times the distance.
SHARES = 1e-8, 1e-7, 1e-6
# The same for kinks beside the point: up to a share of 2e-7 what is left changes by no more than `SAME`.
BESIDE = 1e-6, 1e-5, 1e-4
# Shares by which vectors differ that are the same, and sizes, as shares of what the Hessian says, that are none.
SAME, NO_KINK, NO_JUMP = 0.3, 1e-7, 1e-10


# A plain dataclass: searches call its methods thousands of times, and Equinox makes a module of each bound method.
@dataclass(frozen=True)
class Rays:
    r"""The form $F_2(d) = \langle g(d), d \rangle / 2$, g being the derivative of $\nabla L$ along the ray d.

    Attributes:
        landscape: the loss L.
        theta: where the rays begin.
        gradient: there.
        size: of the weights.
        shares: of the weights' size, the distances at which the loss is looked at, in decades. The form is that at the
            first of them.
    """

    landscape: Landscape
    theta: Float[np.ndarray, " n"]
    gradient: Float[np.ndarray, " n"]
    size: float
    shares: tuple[float, ...] = SHARES

    @property
    def beside(self) -> "Rays":
        """The same on which kinks are seen that are not at the point, but next to it."""
        return replace(self, shares=BESIDE)

    def slope(self, d: Float[np.ndarray, " n"], share: float | None = None) -> Float[np.ndarray, " n"]:
        """g(d), of a unit vector d."""
        distance = (self.shares[0] if share is None else share) * self.size
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


def is_kinked(rays: Rays, inside: Float[np.ndarray, "n m"] | None = None) -> bool:
    """Whether the gradient changes along some ray by more than the Hessian says, however near.

    Args:
        rays: from the point.
        inside: an orthonormal basis, as columns, of the directions to which rays are confined; by default of all.

    Returns:
        Whether it does: then the Hessian that automatic differentiation gives says nothing of the loss.
    """
    left, curvature = _beside_the_hessian(rays, inside)
    return _stays(left, NO_KINK * curvature) or _jumps(rays, left, curvature)


def jumps(rays: Rays) -> bool:
    """Whether the gradient changes along some ray by as much, however near: then there is none at the point."""
    return _jumps(rays, *_beside_the_hessian(rays))


def _jumps(rays: Rays, left: Float[np.ndarray, "s k n"], curvature: float) -> bool:
    return _stays(left * np.array(rays.shares)[:, None, None], NO_JUMP * curvature)


def _beside_the_hessian(
    rays: Rays, inside: Float[np.ndarray, "n m"] | None = None
) -> tuple[Float[np.ndarray, "s k n"], float]:
    """Slopes less products of the Hessian, at all distances on all rays, and the largest product."""
    directions = rays.directions()
    products = rays.landscape.hessian_products(rays.theta, directions.T).T
    curvature = float(np.max(np.linalg.norm(products, axis=1), initial=0.0))
    if inside is not None:
        directions = directions @ inside @ inside.T
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        products = rays.landscape.hessian_products(rays.theta, directions.T).T
    slopes = np.array([[rays.slope(d, share) for d in directions] for share in rays.shares])
    return slopes - products, curvature


def _stays(vectors: Float[np.ndarray, "s k n"], none: float) -> bool:
    """Whether on some ray the vectors of all distances are the same, and not none."""
    nearest = np.linalg.norm(vectors[0], axis=1)
    change = np.max(np.linalg.norm(vectors - vectors[0], axis=2), axis=0)
    return bool(np.any((nearest > none) & (change <= SAME * nearest)))
