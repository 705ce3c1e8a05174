"""The flow near a critical point to leading order, in the coordinates of its Hessian."""

import functools
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ...flows.landscapes.taylor import ORDER, relaxed_series
from ..curvature.spectrum import PseudoInverse, Spectrum

Vector = Float[np.ndarray, " n"]


@dataclass(frozen=True)
class CoordinatesFlow:
    r"""Coordinates x along the unstable eigenspaces or the null space; all others follow the linearised flow.

    Strict saddle: $\dot x_i = -\lambda_i x_i$. Degenerate saddle: $\dot x = -\nabla F_p(x)$ with the leading-order form
    of the loss along null directions, the other coordinates relaxed to them.

    Attributes:
        landscape: the loss.
        point: the critical point θ*.
        level: the loss there.
        order: p.
        spectrum: of the Hessian there.
        displacement: θ − θ* at time 0.
    """

    landscape: Landscape
    point: Vector
    level: float
    order: int
    spectrum: Spectrum
    displacement: Vector

    # Kept, since it is read at every step: a large part of the eigenvectors.
    @functools.cached_property
    def basis(self) -> Float[np.ndarray, "n k"]:
        """The eigenvectors along which x is measured, as columns."""
        vectors = self.spectrum.eigenvectors
        return vectors[:, : self.spectrum.index] if self.order == 2 else self.spectrum.null_space

    @property
    def start(self) -> Float[np.ndarray, " k"]:
        """The coordinates at time 0."""
        return self.basis.T @ self.displacement

    @property
    def scale(self) -> Float[np.ndarray, " k"]:
        """The largest coordinate."""
        return np.full(self.start.size, np.max(np.abs(self.start), initial=0.0))

    def relaxed(self, y: Float[np.ndarray, " k"]) -> None:
        """None: the other coordinates are in closed form from the beginning."""
        return None

    def velocity(self, t: float, y: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """The time derivative of the coordinates."""
        if self.order == 2:
            return -self.spectrum.eigenvalues[: self.spectrum.index] * y
        return -self.basis.T @ self._expansion(y)[1]

    def loss(self, t: float, y: Float[np.ndarray, " k"]) -> float:
        """The loss to leading order, with what the other coordinates still add to it."""
        rates, _, values = self._others
        loss = self.level + 0.5 * float(rates @ (np.exp(-rates * t) * values) ** 2)
        if self.order == 2:
            return loss + 0.5 * float(self.spectrum.eigenvalues[: self.spectrum.index] @ y**2)
        # Euler: ∇F · x = p F for a form of order p.
        return loss + float(self._expansion(y)[1] @ (self.basis @ y)) / self.order

    def parameters(self, t: float, y: Float[np.ndarray, " k"]) -> Vector:
        """θ at these coordinates."""
        along = self.basis @ y if self.order == 2 else self._expansion(y)[0]
        return self.point + self._rest(t) + along

    def growing(self, velocity: Float[np.ndarray, " k"]) -> Vector:
        """The velocity of x in the parameters."""
        return self.basis @ velocity

    def seen(self, vector: Vector) -> Vector:
        """The component along the eigenvectors of x."""
        return self.basis @ (self.basis.T @ vector)

    @functools.cached_property
    def _others(self) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, "n m"], Float[np.ndarray, " m"]]:
        """Decay rates, directions and values at time 0 of the other coordinates; null ones stay."""
        values, vectors = self.spectrum.eigenvalues, self.spectrum.eigenvectors
        others = values > self.spectrum.zero_threshold
        if self.order == 2:
            others = np.arange(values.size) >= self.spectrum.index
        # Where the others follow x already, they are a part of the expansion along it.
        displacement = self.displacement if self.order == 2 else self.displacement - self._expansion(self.start)[0]
        return np.maximum(values[others], 0.0), vectors[:, others], vectors[:, others].T @ displacement

    @functools.cached_property
    def _inverse(self) -> PseudoInverse:
        """The Hessian's pseudo-inverse."""
        return jax.device_put(self.spectrum.pseudo_inverse())

    def _rest(self, t: float) -> Vector:
        """What the other coordinates contribute."""
        rates, directions, values = self._others
        return directions @ (np.exp(-rates * t) * values)

    def _expansion(self, y: Float[np.ndarray, " k"]) -> tuple[Vector, Vector]:
        r"""The relaxed displacement $d + a_2 + \ldots + a_{p-2}$, and $g_{p-1}$ of the gradient along it."""
        direction, last = self.basis @ y, max(self.order - 2, 1)
        curve, gradient = relaxed_series(self.landscape, self.point, direction[None], self._inverse, last)
        return np.sum(curve, axis=0), gradient[self.order - 1]


def coordinates_flow(
    landscape: Landscape, theta: Vector, point: Vector, level: float, spectrum: Spectrum, order: int
) -> CoordinatesFlow | None:
    """The flow from θ near a saddle.

    Args:
        landscape: the loss.
        theta: θ.
        point: the saddle θ*.
        level: the loss there.
        spectrum: of the Hessian there.
        order: p, of the form along which the loss falls.

    Returns:
        The flow; `None` for orders to which the gradient is not expanded.
    """
    if order > ORDER + 1:
        return None
    return CoordinatesFlow(
        landscape=landscape, point=point, level=level, order=order, spectrum=spectrum, displacement=theta - point
    )
