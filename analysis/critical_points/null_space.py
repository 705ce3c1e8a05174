"""Which zero eigenvalues of a Hessian are there by symmetry, and which are not."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...models.units import declared_units
from ..curvature.spectrum import Spectrum
from ..embeddings.embedding import Embedding
from ..numerical_rank import DERIVATIVE_TOLERANCE, numerical_rank
from ..symmetries.symmetry import family_directions, symmetry_directions

# A direction is in the null space if all but this share of it is; a critical point known to 1e-10 has its null space
# to within about the square root.
INSIDE = 1e-4


class NullSpace(eqx.Module):
    r"""The null space of a Hessian, explained.

    - `nullity`: its dimension; `symmetry`: directions along orbits of the model's symmetries; `families`: further ones
      along the affine family of embedded points to which the point belongs; `unexplained`: all others.
    - `directions`: an orthonormal basis of the unexplained part, as columns.
    - `searched`: whether symmetries were looked for at all.
    """

    nullity: int
    symmetry: int
    families: int
    directions: Float[np.ndarray, "n k"]
    searched: bool = True

    @property
    def unexplained(self) -> int:
        """The number of null directions that neither symmetries nor families explain."""
        return self.directions.shape[1]

    def __str__(self) -> str:
        parts = f"{self.symmetry} by symmetry, {self.families} by the embedding's family"
        return f"nullity {self.nullity}: {parts}, {self.unexplained} unexplained" + (
            "" if self.searched else ", not searched"
        )


def null_space(spectral: Spectrum, model: Any, data: Any, embedding: Embedding | None = None) -> NullSpace:
    """Explains the null space of the Hessian at a critical point.

    **Arguments:** `spectral`: the spectrum there; `model`: the network there; `data`: a pair (x, y) with generic
    inputs, or statistics; `embedding`: by which it comes from a narrow network, if it does.

    Only directions that do lie in the null space count. Symmetries of models without units are sought up to 40
    parameters; without a search all null directions stay unexplained, and `searched` is false.
    """
    basis = spectral.null_space
    nothing = np.zeros((0, basis.shape[0]))
    symmetry, family = symmetry_directions(model, data), nothing
    searched, symmetry = symmetry is not None, nothing if symmetry is None else symmetry
    if embedding is not None and not declared_units(model).law.linear:
        family = family_directions(embedding)
    inside = [_inside(rows, basis) for rows in (symmetry, family)]
    first = _rank(inside[0])
    both = np.vstack(inside)
    values, vectors = np.linalg.eigh(both.T @ both) if len(both) else (np.zeros(basis.shape[1]), np.eye(basis.shape[1]))
    explained = _rank(both)
    left = basis @ vectors[:, : basis.shape[1] - explained]
    return NullSpace(basis.shape[1], first, explained - first, left, searched)


def _inside(rows: np.ndarray, basis: np.ndarray) -> Float[np.ndarray, "k nullity"]:
    """Coordinates, in the null space, of the directions that lie in it."""
    norms = np.linalg.norm(rows, axis=1)
    rows = rows[norms > DERIVATIVE_TOLERANCE * np.max(norms, initial=0.0)]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    coordinates = rows @ basis
    return coordinates[np.linalg.norm(rows - coordinates @ basis.T, axis=1) < INSIDE]


def _rank(rows: np.ndarray) -> int:
    values = np.linalg.svd(rows, compute_uv=False) if rows.size else np.zeros(0)
    return numerical_rank(values, INSIDE)
