"""Eigenpairs of the Hessian along a flow, each followed by its eigenvector."""

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from ...flows import Landscape, Trajectory
from ..curvature.matrix_free import extreme_eigenpairs
from ..curvature.spectrum import DENSE_HESSIAN_LIMIT, EIGENSPACE_SPREAD, hessian
from ..threads import in_one_thread
from .observable import Quantity
from .observe import labelled, states

if TYPE_CHECKING:
    from xarray import Dataset

End = Literal["lowest", "highest"]
# Eigenpairs beyond those that are followed, where not all are known: room for others that pass them.
SPARE = 4
# Below an overlap of a half (of squares) another eigenvector has as much of the former one.
AMBIGUOUS = 0.5

QUANTITIES = {
    "eigenvalue": Quantity("eigenvalue of the Hessian", axes=("track",)),
    "eigenvector": Quantity("eigenvector of the Hessian", axes=("track", "parameter")),
    "overlap": Quantity("squared overlap with the eigenvector before", axes=("track",)),
}


class _Pairs(NamedTuple):
    """Eigenvalues, ascending, and eigenvectors as columns."""

    values: Float[np.ndarray, " m"]
    vectors: Float[np.ndarray, "n m"]


def tracked_eigenpairs(
    trajectory: Trajectory, *, count: int = 4, end: End = "lowest", ts: Iterable[float] | None = None
) -> "Dataset":
    r"""Some eigenpairs of the Hessian, followed along a flow by the overlap of their eigenvectors.

    Those that are lowest (or highest) at the first time are followed. From one time to the next each goes to the
    eigenvalue whose eigenspace has most of its eigenvector, all together by a linear assignment. In an eigenspace of
    several dimensions the basis nearest to the former eigenvectors is taken.

    Args:
        trajectory: a flow, by `simulate`.
        count: how many, at least 1.
        end: of the spectrum at the first time.
        ts: increasing times; by default those of all accepted steps. Each takes a Hessian and its eigenvectors, or with
            more than 3000 parameters a search for the end of the spectrum, of which a track can then be lost.

    Returns:
        A dataset of `eigenvalue`, `eigenvector` and `overlap`, the square of that with the eigenvector before, with a
        dimension `track`; `eigenvalue_crossings` finds where two of them meet. Where an overlap is below a half, which
        is warned about, the times are too far from each other.

    Raises:
        ValueError: for a count below 1 or above what the Hessian has.
    """
    landscape = trajectory.landscape
    size = landscape.theta.size
    most = size if size <= DENSE_HESSIAN_LIMIT else size // 5 - SPARE
    if not 1 <= count <= most:
        raise ValueError(f"count must be between 1 and {most} for {size} parameters; got {count}.")
    times, thetas = states(trajectory, ts)
    values, vectors, overlaps = _tracks(landscape, thetas, count, end)
    _warn(times, overlaps)
    arrays = {"eigenvalue": values, "eigenvector": vectors, "overlap": overlaps}
    dataset = labelled(times, arrays, QUANTITIES)
    dataset.attrs["model"] = type(trajectory.initial_model).__name__
    return dataset


@in_one_thread
def _tracks(
    landscape: Landscape, thetas: Float[np.ndarray, "T n"], count: int, end: End
) -> tuple[Float[np.ndarray, "T k"], Float[np.ndarray, "T k n"], Float[np.ndarray, "T k"]]:
    """Eigenvalues, eigenvectors and overlaps of each track."""
    values, vectors = np.empty((len(thetas), count)), np.empty((len(thetas), count, thetas.shape[1]))
    for k, theta in enumerate(thetas):
        pairs = _eigenpairs(landscape, theta, count, end)
        if k == 0:
            chosen = np.arange(count) if end == "lowest" else len(pairs.values) - 1 - np.arange(count)
            values[0], vectors[0] = pairs.values[chosen], pairs.vectors[:, chosen].T
        else:
            values[k], vectors[k] = _followed(pairs, vectors[k - 1])
    overlaps = np.sum(vectors * np.concatenate([vectors[:1], vectors[:-1]]), axis=2) ** 2
    return values, vectors, overlaps


def _eigenpairs(landscape: Landscape, theta: Float[np.ndarray, " n"], count: int, end: End) -> _Pairs:
    """All eigenpairs, or those at one end of the spectrum where a dense Hessian is too large."""
    if theta.size <= DENSE_HESSIAN_LIMIT:
        return _Pairs(*np.linalg.eigh(hessian(landscape, theta)))
    found = extreme_eigenpairs(landscape, theta=theta, end=end, count=count + SPARE)
    if not np.all(found.converged[:count] if end == "lowest" else found.converged[-count:]):
        warnings.warn(
            "eigenpairs of the Hessian did not converge at some times; they are tracked as found.", stacklevel=5
        )
    return _Pairs(found.values, found.vectors)


def _followed(pairs: _Pairs, before: Float[np.ndarray, "k n"]) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors that continue former eigenvectors, in their order."""
    values, vectors = pairs
    spread = EIGENSPACE_SPREAD * np.max(np.abs(values))
    spaces = np.concatenate([[0], np.cumsum(np.diff(values) > spread)])
    components = before @ vectors
    # The share of each former eigenvector in each eigenspace, which has as many places as dimensions.
    shares = np.zeros((len(before), spaces[-1] + 1))
    np.add.at(shares.T, spaces, components.T**2)
    tracks, places = scipy.optimize.linear_sum_assignment(shares[:, spaces], maximize=True)
    continued, found = np.empty_like(before), np.empty(len(before))
    found[tracks] = values[places]
    for space in np.unique(spaces[places]):
        members, inside = tracks[spaces[places] == space], spaces == space
        # The orthonormal vectors of the space that are nearest to the former ones (Procrustes).
        left, _, right = np.linalg.svd(components[np.ix_(members, inside)], full_matrices=False)
        continued[members] = left @ right @ vectors[:, inside].T
    return found, continued


def _warn(times: Float[np.ndarray, " T"], overlaps: Float[np.ndarray, "T k"]) -> None:
    """Warns of tracks that may have been lost."""
    lost = np.any(overlaps < AMBIGUOUS, axis=1)
    if np.any(lost):
        warnings.warn(
            f"eigenvectors turn by more than 45° before {np.sum(lost)} of {len(times)} times, first t = "
            f"{times[np.argmax(lost)]:.6g}: tracks are ambiguous there. Give more times around them.",
            stacklevel=3,
        )
