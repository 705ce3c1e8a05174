"""Where two eigenvalues of the Hessian meet along a flow: crossings and avoided crossings."""

from typing import TYPE_CHECKING, Literal

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..curvature.spectrum import EIGENSPACE_SPREAD

if TYPE_CHECKING:
    from xarray import Dataset

# An avoided crossing begins and ends where the gap is this many times the smallest one: between two levels of constant
# slopes and coupling the eigenvectors have then turned by 60° of the 90° of an exchange.
APART = 2.0
# Two eigenvectors have exchanged their characters if more than this share of each has become the other.
EXCHANGED = 0.5
# Across a crossing less than this share of each eigenvector becomes the other: none between levels without a coupling,
# and with a gap between times at which the levels are farther apart, about the square of the ratio of the two.
KEPT = 0.01


class EigenvalueCrossing(eqx.Module):
    """A meeting of two tracked eigenvalues.

    Attributes:
        kind: "crossing" where they exchange their order and keep their eigenvectors, "avoided crossing" where they keep
            their order and exchange their eigenvectors, "unresolved" where the times lie too far apart to tell.
        time: when, interpolated between times.
        tracks: the two tracks.
        gap: of an avoided crossing, the smallest distance of the eigenvalues; otherwise their distance at the nearer of
            the times beside it: an avoided crossing with a much smaller gap looks like a crossing.
        exchanged: the share of each eigenvector before that is in the other one afterwards.
    """

    kind: Literal["crossing", "avoided crossing", "unresolved"]
    time: float
    tracks: tuple[int, int]
    gap: float
    exchanged: float

    def __str__(self) -> str:
        first, second = self.tracks
        gap = f"gap {self.gap:.3g}" if self.kind == "avoided crossing" else f"no gap above {self.gap:.2g}"
        name = "unresolved crossing" if self.kind == "unresolved" else self.kind
        return (
            f"{name} of eigenvalues {first} and {second} at t = {self.time:.6g}: {gap}, "
            f"{100 * self.exchanged:.0f} % of their eigenvectors exchanged"
        )


def eigenvalue_crossings(tracked: "Dataset") -> tuple[EigenvalueCrossing, ...]:
    """The crossings and avoided crossings among tracked eigenvalues.

    Args:
        tracked: by `tracked_eigenpairs`.

    Returns:
        The crossings in order of time.

    Source: von Neumann & Wigner (1929): without a symmetry that keeps them apart two levels do not cross as one
    parameter changes.
    """
    times, values = tracked["time"].values, tracked["eigenvalue"].values
    vectors = tracked["eigenvector"].values
    found: list[EigenvalueCrossing] = []
    for first in range(values.shape[1]):
        for second in range(first + 1, values.shape[1]):
            gaps = values[:, first] - values[:, second]
            # Where the two are one eigenvalue to rounding, its sign says nothing.
            known = np.abs(gaps) > EIGENSPACE_SPREAD * np.max(np.abs(values), axis=1)
            pair = vectors[known][:, [first, second]]
            found += _crossings(times[known], gaps[known], pair, (first, second))
            found += _avoided(times[known], gaps[known], pair, (first, second))
    return tuple(sorted(found, key=lambda crossing: crossing.time))


def _crossings(
    times: Float[np.ndarray, " T"],
    gaps: Float[np.ndarray, " T"],
    pair: Float[np.ndarray, "T 2 n"],
    tracks: tuple[int, int],
) -> list[EigenvalueCrossing]:
    """Where the gap changes its sign."""
    found: list[EigenvalueCrossing] = []
    for k in np.flatnonzero(np.sign(gaps[1:]) != np.sign(gaps[:-1])):
        share, exchanged = gaps[k] / (gaps[k] - gaps[k + 1]), _exchanged(pair[k], pair[k + 1])
        found.append(
            EigenvalueCrossing(
                kind="crossing" if exchanged < KEPT else "unresolved",
                time=float(times[k] + share * (times[k + 1] - times[k])),
                tracks=tracks,
                gap=float(min(abs(gaps[k]), abs(gaps[k + 1]))),
                exchanged=exchanged,
            )
        )
    return found


def _avoided(
    times: Float[np.ndarray, " T"],
    gaps: Float[np.ndarray, " T"],
    pair: Float[np.ndarray, "T 2 n"],
    tracks: tuple[int, int],
) -> list[EigenvalueCrossing]:
    """Where the gap has a minimum, on both sides of which the eigenvectors are each other's."""
    found: list[EigenvalueCrossing] = []
    sizes = np.abs(gaps)
    for k in 1 + np.flatnonzero((sizes[1:-1] < sizes[:-2]) & (sizes[1:-1] <= sizes[2:])):
        before, after = np.flatnonzero(sizes[:k] >= APART * sizes[k]), np.flatnonzero(sizes[k:] >= APART * sizes[k])
        if not len(before) or not len(after):
            continue
        start, end = int(before[-1]), int(k + after[0])
        between = slice(start, end + 1)
        # Not the minimum of its neighbourhood, or a crossing.
        if np.min(sizes[between]) < sizes[k] or np.ptp(np.sign(gaps[between])) > 0:
            continue
        exchanged = _exchanged(pair[start], pair[end])
        if exchanged > EXCHANGED:
            time, gap = _minimum(times[k - 1 : k + 2], sizes[k - 1 : k + 2])
            kind: Literal["avoided crossing"] = "avoided crossing"
            found.append(EigenvalueCrossing(kind=kind, time=time, tracks=tracks, gap=gap, exchanged=exchanged))
    return found


def _exchanged(before: Float[np.ndarray, "2 n"], after: Float[np.ndarray, "2 n"]) -> float:
    """The smaller share of each vector that has become the other."""
    overlaps = (before @ after.T) ** 2
    return float(min(overlaps[0, 1], overlaps[1, 0]))


def _minimum(times: Float[np.ndarray, " 3"], sizes: Float[np.ndarray, " 3"]) -> tuple[float, float]:
    """Time and size of the smallest gap: between two levels its square is a parabola in time."""
    t = times - times[1]
    a, b, c = np.linalg.solve(np.stack([t**2, t, np.ones(3)], axis=1), sizes**2)
    offset = -b / (2 * a)
    return float(times[1] + offset), float(np.sqrt(max(c + b * offset / 2, 0.0)))
