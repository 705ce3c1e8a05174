"""What can explain a null space: orbits of symmetries, families of embedded points, factors that are zero."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import flatten
from ...models.units import declared_units
from ..embeddings.embedding import Embedding
from .outputs import number_of_outputs
from .symmetry import family_directions, symmetry_directions
from .zero_factors import free_directions


class Explanation(eqx.Module):
    """Directions that can explain the null space of a Hessian.

    Attributes:
        model: the network at the critical point.
        data: what its inputs are taken from.
        symmetry: the `symmetry_directions`, `None` where they were not sought.
        families: the `family_directions`; none where the units are linear, whose families are orbits of their
            symmetries.
    """

    model: Any
    data: Any
    symmetry: Float[np.ndarray, "k n"] | None
    families: Float[np.ndarray, "m n"]

    @property
    def number_of_outputs(self) -> int | None:
        """The number of outputs on all inputs; `None` where there is no such number."""
        return number_of_outputs(self.model, self.data)

    def free(self, basis: Float[np.ndarray, "n m"], *, zero: float, inside: float) -> Float[np.ndarray, "k m"]:
        """The `free_directions` within a null space, as coefficients of its basis."""
        return free_directions(self.model, basis, zero=zero, inside=inside)


def explanation(model: Any, data: Any, embedding: Embedding | None = None) -> Explanation:
    """All directions that can explain a null space.

    Args:
        model: the network at the critical point.
        data: as for `symmetry_directions`.
        embedding: by which the point comes from a narrow network, if it does.

    Returns:
        The directions.
    """
    families = np.zeros((0, flatten(model).size))
    if embedding is not None and not declared_units(model).law.linear:
        families = family_directions(embedding)
    return Explanation(model=model, data=data, symmetry=symmetry_directions(model, data), families=families)
