"""What a small unit added to a network does to the loss, to first order in its outgoing parameters."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ...flows import Landscape
from ...flows.landscapes.taylor import ORDER, gradient_series
from ...models import UnitLaw
from ...models.units import declared_units, width
from ..embeddings.embedding import Embedding
from ..embeddings.narrow_landscape import NarrowLandscape, added_positions, narrow_landscape
from .sphere import normal_vectors

# A displacement far below rounding of the weights that decides on which side of a kink at zero a unit is.
BESIDE_ZERO = 1e-30
# Random parameters of a unit at which penalties on them are looked for.
TRIED = 2
# The order to which M is expanded where its lowest orders vanish.
HIGHEST = 11


# A plain dataclass: searches call its methods thousands of times, and Equinox makes a module of each bound method.
@dataclass(frozen=True)
class UnitEffect:
    r"""The effect of an added unit (u, v) on the loss, $L = L_0 - \langle M(u), v \rangle + O(v^2)$.

    This holds where the loss depends on the unit by what it adds to the outputs alone: not under weight decay.

    Attributes:
        narrow: landscape of the network with a zero unit more, the last.
        theta: its flattened parameters.
        u: positions of the unit's incoming parameters in them.
        v: positions of the unit's outgoing parameters.
        law: properties of the units.
    """

    narrow: NarrowLandscape
    theta: Float[np.ndarray, " m"]
    u: Int[np.ndarray, " Nu"]
    v: Int[np.ndarray, " Nv"]
    law: UnitLaw

    def _at(self, u: np.ndarray) -> np.ndarray:
        theta = self.theta.copy()
        theta[self.u] = u
        return theta

    def _displacement(self, positions: np.ndarray, values: np.ndarray) -> np.ndarray:
        """A change of some of the unit's parameters, in the landscape's own."""
        return self.narrow.matrix[:, positions] @ values

    def _series(self, u: np.ndarray, further: np.ndarray | None = None) -> np.ndarray:
        """The gradient along $s u$, order by order, or along $s u + s^q d$ for a `further` direction d in v."""
        curve = np.zeros((self.law.order, len(self.narrow.matrix)))
        curve[0] = self._displacement(self.u, u)
        # At a kink the side of zero on which u lies makes a difference.
        start = self.narrow.matrix @ self.theta + (0.0 if self.law.smooth else BESIDE_ZERO) * curve[0]
        if further is not None:
            curve[-1] += self._displacement(self.v, further)
        return gradient_series(self.narrow.landscape, start, curve) @ self.narrow.matrix

    def lowest(self, u: Float[np.ndarray, " Nu"]) -> Float[np.ndarray, " Nv"]:
        """M(u) to its lowest order in u, a homogeneous function."""
        if self.law.degree is not None:
            return -self.narrow.gradient(self._at(u))[self.v]  # a homogeneous function is its own lowest term
        return -self._series(u)[self.law.order, self.v]

    @property
    def matrix(self) -> Float[np.ndarray, "Nv Nu"]:
        """M as a matrix, for smooth laws of order 1."""
        directions = np.zeros((self.theta.size, self.u.size))
        directions[self.u, np.arange(self.u.size)] = 1.0
        wide = self.narrow.matrix
        products = self.narrow.landscape.hessian_products(wide @ self._at(np.zeros(self.u.size)), wide @ directions)
        return -(wide.T @ products)[self.v]

    def _copies(self) -> Iterator["UnitEffect"]:
        """The same on landscapes and at points in which every number is changed in its last place."""
        for narrow, point in self.narrow.perturbed(self.theta):
            yield replace(self, narrow=narrow, theta=point)

    def noise(self, directions: Float[np.ndarray, "k Nu"]) -> float:
        r"""The error of rounding of $\|M(u)\|$.

        Args:
            directions: unit vectors u at which it is measured; not used where M is a matrix.

        Returns:
            The largest $\|\Delta M(u)\|$ on them, or on the whole sphere, when numbers are changed in their last place.
        """
        if self.law.order == 1 and self.law.smooth:
            matrix = self.matrix
            errors = [float(np.linalg.norm(copy.matrix - matrix, 2)) for copy in self._copies()]
        else:
            images = [self.lowest(u) for u in directions]
            errors = [
                float(np.linalg.norm(copy.lowest(u) - image))
                for copy in self._copies()
                for u, image in zip(directions, images, strict=True)
            ]
        return max(errors, default=0.0)

    def penalised(self, *, safety: float) -> bool:
        """Whether the loss depends on a unit that adds nothing to the outputs, on u with v = 0 or on v with u = 0.

        Args:
            safety: errors of rounding up to which a derivative is zero.

        Returns:
            Whether it does, as under weight decay.
        """
        own = self._own_derivatives()
        noise = np.max([np.abs(copy._own_derivatives() - own) for copy in self._copies()], axis=0)
        return bool(np.any(np.abs(own) > safety * np.max(noise, axis=1, keepdims=True)))

    def _own_derivatives(self) -> Float[np.ndarray, "k m"]:
        """The loss's derivatives in u at some u with v = 0, and in v at some v with u = 0; one row each."""
        rows = []
        for positions in (self.u, self.v):
            for values in normal_vectors(TRIED, positions.size):
                theta, row = self.theta.copy(), np.zeros(self.theta.size)
                theta[positions] = values
                row[positions] = self.narrow.gradient(theta)[positions]
                rows.append(row)
        return np.array(rows)

    def first_order(self, directions: Float[np.ndarray, "k Nu"], *, safety: float) -> int | None:
        r"""The lowest order in s at which $M(s u)$ is not zero, for smooth laws.

        If it is q, a small unit lowers the loss at order q + 1: v along M(u), small enough for its square not to count.

        Args:
            directions: some u.
            safety: errors of rounding up to which a coefficient is zero.

        Returns:
            q, `None` where M vanishes up to order 11.
        """
        for order in (ORDER, HIGHEST):
            series = self._coefficients(directions, order)
            noise = [np.abs(copy._coefficients(directions, order) - series) for copy in self._copies()]
            seen = np.any(np.abs(series) > safety * np.max(noise, axis=(0, 1, 3))[None, :, None], axis=(0, 2))
            if np.any(seen[1:]):
                return 1 + int(np.argmax(seen[1:]))
        return None

    def _coefficients(self, directions: np.ndarray, order: int) -> np.ndarray:
        """The coefficients of M(su) on each of several directions u, by order in s."""
        start, matrix = self.narrow.matrix @ self.theta, self.narrow.matrix[:, self.v]
        curves = [self._displacement(self.u, u)[None] for u in directions]
        return -np.array([gradient_series(self.narrow.landscape, start, curve, order) @ matrix for curve in curves])

    def image_and_slope(self, u: Float[np.ndarray, " Nu"]) -> tuple[Float[np.ndarray, " Nv"], Float[np.ndarray, " Nu"]]:
        r"""M(u) to its lowest order q, and the gradient of $\|M\|^2 / 2$ in u.

        Args:
            u: the unit's incoming parameters.

        Returns:
            The image and the gradient.

        Raises:
            ValueError: for laws without a degree whose order is above three.
        """
        image = self.lowest(u)
        if self.law.degree is not None:
            wide = self.narrow.matrix @ self._at(u)
            product = self.narrow.landscape.hessian_product(wide, self._displacement(self.v, image))
            return image, -(product @ self.narrow.matrix)[self.u]
        q = self.law.order
        if 2 * q - 1 > ORDER:
            raise ValueError(f"a law of order {q} needs a degree; without one orders to {(ORDER + 1) // 2} are known.")
        # Along s u + s^q M the coefficient of order 2q - 1 differs by the Hessian's of order q - 1, times M.
        difference = self._series(u, image)[2 * q - 1] - self._series(u)[2 * q - 1]
        return image, -difference[self.u]


def unit_effect(
    landscape: Landscape, embedding: Embedding | None = None, theta: Float[Any, " n"] | None = None, *, layer: int = 0
) -> UnitEffect:
    """The effect of one unit added to a network.

    Args:
        landscape: of the wide network, if there is an embedding, or else of the network itself.
        embedding: of the network in the wide one.
        theta: without an embedding the network's parameters; by default the landscape's own.
        layer: the layer that gets the unit, from 0.

    Returns:
        The effect, a function of the unit's parameters.
    """
    if embedding is None:
        model = landscape.model if theta is None else landscape.at(theta)
        identity = np.eye(width(model, layer))
        embedding = Embedding(narrow=model, maps=((identity, identity, layer),))
    narrow = narrow_landscape(landscape, embedding, spare=(layer,))
    u, v = added_positions(narrow, layer)
    law = declared_units(narrow.model, layer).law
    return UnitEffect(narrow=narrow, theta=narrow.theta, u=u, v=v, law=law)
