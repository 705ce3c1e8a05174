"""Which zero eigenvalues of a Hessian are there by symmetry, and which are not."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import flatten
from ..curvature.spectrum import Spectrum
from ..embeddings.embedding import Embedding
from ..numerical_rank import DERIVATIVE_TOLERANCE, numerical_rank
from ..symmetries.explanation import explanation
from ..thresholds import STANDARD

# Newton's method beside a point of order ten ends at a ten-thousandth of the distance that it has moved.
ORBIT_SHARE = 1e-3


class NullSpace(eqx.Module):
    r"""The null space of a Hessian, explained.

    Attributes:
        nullity: its dimension.
        symmetry: number of directions along orbits of the model's symmetries.
        families: number of further ones along the affine family of embedded points to which the point belongs.
        free: number of further ones along which only parameters move that are free beside a factor that is zero: the
            loss is constant on each, but neither on their sum nor is its gradient zero there.
        interpolation: number of further ones along the set of all weights with the same outputs.
        directions: an orthonormal basis of what neither symmetries nor families explain, as columns: the loss may
            change there at higher order.
        searched: whether symmetries were looked for at all.
    """

    nullity: int
    symmetry: int
    families: int
    directions: Float[np.ndarray, "n k"]
    free: int = 0
    interpolation: int = 0
    searched: bool = True

    @property
    def unexplained(self) -> int:
        """The number of null directions that nothing explains."""
        return self.directions.shape[1] - self.free - self.interpolation

    @property
    def critical(self) -> bool:
        """Whether all null directions are tangent to a set of critical points of the same loss."""
        return self.directions.shape[1] == 0 or self.interpolation > 0

    @property
    def summary(self) -> str:
        """The explanation in one line."""
        parts = f"{self.symmetry} by symmetry, {self.families} by the embedding's family"
        parts += f", {self.free} beside zero factors" if self.free else ""
        parts += f", {self.interpolation} by interpolation" if self.interpolation else ""
        return f"nullity {self.nullity}: {parts}, {self.unexplained} unexplained" + (
            "" if self.searched else ", not searched"
        )

    def __str__(self) -> str:
        directions = (
            f"{self.symmetry} along orbits of symmetries" + ("" if self.searched else " (not searched)"),
            f"{self.families} along the embedding's family of critical points",
            f"{self.free} beside factors that are zero",
            f"{self.interpolation} along the set of weights with the same outputs",
            f"{self.unexplained} unexplained",
        )
        return "\n".join([f"null space of dimension {self.nullity}", *(f"  {line}" for line in directions)])


def null_space(
    spectrum: Spectrum,
    model: Any,
    data: Any,
    embedding: Embedding | None = None,
    *,
    moved: float = 0.0,
    inside: float = STANDARD.inside_null_space,
    attained: bool = False,
) -> NullSpace:
    """Explains the null space of the Hessian at a critical point.

    Only directions that lie in the null space count. Symmetries of models without units are sought up to 40
    parameters; without a search all null directions stay unexplained, and `searched` is false.

    Args:
        spectrum: of the Hessian at the point.
        model: the network there.
        data: a pair (x, y) with generic inputs, or statistics.
        embedding: by which the point comes from a narrow network, if it does.
        moved: the distance by which a search moved to the point; orbits that are much shorter may have no length at the
            critical point itself, as at the origin, and explain nothing.
        inside: a direction lies in the null space if all of it except this share does; see `Thresholds`.
        attained: whether the loss attains a lower bound. If its Hessian has then as many positive eigenvalues as the
            model has outputs on all data, these are independent, and all weights with the same outputs about the point
            are a manifold of minima, to which the null space is tangent.

    Returns:
        The dimensions that are explained, and a basis of the rest.
    """
    basis = spectrum.null_space
    possible = explanation(model, data, embedding)
    searched = possible.symmetry is not None
    symmetry = np.zeros((0, len(basis))) if possible.symmetry is None else possible.symmetry
    least = ORBIT_SHARE * moved
    coordinates = [_inside(rows, basis, inside, least) for rows in (symmetry, possible.families)]
    first, both = _rank(coordinates[0], inside), np.vstack(coordinates)
    squares, vectors = np.linalg.eigh(both.T @ both)
    explained, free = numerical_rank(squares, inside**2), 0
    if explained < basis.shape[1]:
        zero = max(DERIVATIVE_TOLERANCE * float(np.linalg.norm(flatten(model))), least)
        beside = possible.free(basis, zero=zero, inside=inside)
        free = _rank(np.vstack([both, beside]), inside) - explained
    independent = attained and possible.number_of_outputs == len(basis) - basis.shape[1]
    return NullSpace(
        nullity=basis.shape[1],
        symmetry=first,
        families=explained - first,
        directions=basis @ vectors[:, : basis.shape[1] - explained],
        free=free,
        interpolation=basis.shape[1] - explained - free if independent else 0,
        searched=searched,
    )


def _inside(
    rows: Float[np.ndarray, "k n"], basis: Float[np.ndarray, "n nullity"], inside: float, least: float
) -> Float[np.ndarray, "m nullity"]:
    """Coordinates, in the null space, of the directions that lie in it."""
    norms = np.linalg.norm(rows, axis=1)
    rows = rows[norms > max(DERIVATIVE_TOLERANCE * float(np.max(norms, initial=0.0)), least)]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    coordinates = rows @ basis
    return coordinates[np.linalg.norm(rows - coordinates @ basis.T, axis=1) < inside]


def _rank(rows: Float[np.ndarray, "k nullity"], inside: float) -> int:
    """The number of singular values above a share of the largest, by their squares, which are quicker to get."""
    squares = np.linalg.eigvalsh(rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows)
    return numerical_rank(squares, inside**2)
