"""A point that the flow leaves is not a minimum, whatever its derivatives seem to say."""

import dataclasses

import numpy as np

from ...flows import Trajectory
from ..critical_points.critical_point import CriticalPoint
from ..critical_points.kind import Kind
from ..critical_points.null_space import null_space
from ..curvature.spectrum import Spectrum
from ..thresholds import STANDARD, Thresholds
from .passages import Passage


def departure_rate(trajectory: Trajectory, passage: Passage) -> tuple[float, float]:
    r"""How the speed grows from closest approach to departure, or to the end of a flow that was leaving.

    Args:
        trajectory: the flow.
        passage: one that the flow left, or was leaving.

    Returns:
        The rate $d\ln\|\nabla L\|/dt$ over the last e-fold, |λ| along an unstable direction and 0 where there is
        less growth, and the number of e-folds.
    """
    end = trajectory.ts[-1] if passage.departure is None else passage.departure
    last = int(np.searchsorted(trajectory.ts, end))
    between = slice(passage.index, last + 1)
    ts, speeds = trajectory.ts[between], trajectory.speeds[between]
    growing = np.log(np.maximum(speeds, np.finfo(float).tiny))
    below = np.flatnonzero(growing <= growing[-1] - 1)
    if len(below) == 0:
        return 0.0, max(float(growing[-1] - growing[0]), 0.0)
    first = below[-1]
    rate = (growing[-1] - growing[first]) / (ts[-1] - ts[first])
    return float(rate), float(growing[-1] - growing[0])


def unless_left(
    trajectory: Trajectory, passage: Passage, point: CriticalPoint, kind: Kind, *, thresholds: Thresholds = STANDARD
) -> Kind:
    """The kind of a point in the light of what the flow did: one that it left is a saddle.

    It left by growth over an e-fold, and ended at a loss below that of the point. If the Hessian has a negative
    eigenvalue of the size of the rate, which counted as zero, the point is a strict saddle.

    Args:
        trajectory: the flow.
        passage: near the point.
        point: the critical point.
        kind: by `classify`.
        thresholds: `left_growth`, `rate_agreement` and `loss_silent`.

    Returns:
        The kind itself, unless it is a minimum that the flow left.
    """
    if kind.name != "minimum" or (passage.departure is None and not passage.leaving):
        return kind
    rate, e_folds = departure_rate(trajectory, passage)
    rounding = thresholds.loss_silent * float(np.max(np.abs([point.loss, np.ptp(trajectory.losses)])))
    if e_folds < thresholds.left_growth or not trajectory.losses[-1] < point.loss - rounding:
        return kind
    seen = f"the flow left this point at a rate of {rate:.5g} over {e_folds:.1f} e-folds of its speed, to a lower loss"
    missed = f"the classification found a minimum ({kind.evidence})"
    finer = None if kind.spectrum is None else _by_rate(kind.spectrum, rate, thresholds)
    if finer is None:
        return dataclasses.replace(
            kind, name="saddle (left)", evidence=f"{seen}; {missed}", order=None, on_request=None
        )
    inside = thresholds.inside_null_space
    explained = null_space(finer, point.model, point.landscape.data, point.single_layer, inside=inside)
    lowest = f"{finer.index} negative eigenvalues, the lowest {finer.eigenvalues[0]:.6g}, of the size of that rate"
    request = kind.on_request
    if request is not None:
        request = dataclasses.replace(request, spectrum=finer, null_space=explained)
    return dataclasses.replace(
        kind,
        name="strict saddle",
        order=2,
        evidence=f"{lowest}: {seen}; {missed}",
        spectrum=finer,
        null_space=explained,
        on_request=request,
    )


def _by_rate(found: Spectrum, rate: float, thresholds: Thresholds) -> Spectrum | None:
    """The spectrum with a threshold below the rate, where it has a negative eigenvalue of that size."""
    share = thresholds.rate_agreement
    values = -found.eigenvalues / rate if rate > 0 else np.zeros(0)
    if not np.any((values >= share) & (values <= 1 / share)):
        return None
    return dataclasses.replace(found, zero_threshold=min(found.zero_threshold, share * rate))
