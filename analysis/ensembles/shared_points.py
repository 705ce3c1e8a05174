"""The critical points that members of an ensemble share: refined and classified once."""

import time
from typing import NamedTuple

import numpy as np

from ...flows import Ensemble
from ..embeddings.width import EffectiveWidth
from ..thresholds import STANDARD, Thresholds
from ..visits.itinerary import Itinerary, itinerary
from ..visits.visit import Visit
from .visits import MemberVisits

# Visits of equal effective widths are to the same critical point, up to symmetry, if loss and sizes of the units agree:
# the loss to this share of the smaller neighbouring drop, which is a fifth of `drop_fraction`, ...
SAME_LEVEL = 0.02
# ... and the sizes of units in use to this share, within which they are on a plateau.
SAME_SIZE = 0.1


class Known(NamedTuple):
    """A visit whose critical point has been refined.

    Attributes:
        member: whose visit it is.
        number: of the visit.
        widths: its effective widths.
        loss: of the critical point.
        visit: with critical point and kind.
    """

    member: int
    number: int
    widths: tuple[EffectiveWidth, ...]
    loss: float
    visit: Visit


class Found(NamedTuple):
    """What was found of the critical points of all members.

    Attributes:
        itineraries: of the members that stand for others, by their numbers.
        known: for each member and visit the visit whose critical point it shares, its own where it was refined; `None`
            where none was sought.
    """

    itineraries: dict[int, Itinerary]
    known: tuple[tuple[Known | None, ...], ...]


def shared_points(
    ensemble: Ensemble,
    visits: tuple[MemberVisits, ...],
    share: bool,
    *,
    budget: float | None = None,
    thresholds: Thresholds = STANDARD,
) -> Found:
    """Refines and classifies the critical points of all members.

    Args:
        ensemble: the flows.
        visits: of every member.
        share: whether a critical point that another member visited is taken from there, where the members are on one
            landscape.
        budget: wall-clock seconds after which no further member is analysed.
        thresholds: as for `itinerary`.

    Returns:
        The itineraries that were computed, and which visit stands for which.
    """
    end = float("inf") if budget is None else time.monotonic() + budget
    computed: dict[int, Itinerary] = {}
    catalogue: list[Known] = []
    result: list[tuple[Known | None, ...]] = []
    for number, each in enumerate(visits):
        same = [_same(each, k, catalogue) if share and ensemble.shared else None for k in range(len(each))]
        if any(known is None for known in same) and time.monotonic() < end:
            found = itinerary(
                ensemble[number], thresholds=thresholds, budget=None if budget is None else end - time.monotonic()
            )
            computed[number] = found
            own = _own(number, each, found)
            catalogue += [known for known in own if known is not None and _stands_for_others(known)]
            same = [mine or theirs for mine, theirs in zip(own, same, strict=True)]
        result.append(tuple(same))
    return Found(itineraries=computed, known=tuple(result))


def _own(member: int, visits: MemberVisits, found: Itinerary) -> list[Known | None]:
    """The member's own refined visits, by the times of its passages."""
    own: list[Known | None] = []
    for number, passage in enumerate(visits.passages):
        nearest = min(found, key=lambda visit: abs(visit.time - passage.time), default=None)
        # A flow that was integrated again has its steps elsewhere, but its plateaus where they were.
        end = passage.departure if passage.departure is not None else np.inf
        if nearest is None or not (passage.arrival <= nearest.time <= end or nearest.time == passage.time):
            own.append(None)
            continue
        widths = visits.effective_widths[number]
        own.append(Known(member, number, widths, nearest.critical_point.loss, nearest))
    return own


def _stands_for_others(known: Known) -> bool:
    """Whether the kind is one of the point alone: other flows leave or approach it in their own ways."""
    return known.visit.critical_point.converged and known.visit.kind.name in (
        "strict saddle",
        "degenerate saddle",
        "non-smooth saddle",
        "minimum",
    )


def _same(visits: MemberVisits, number: int, catalogue: list[Known]) -> Known | None:
    """A refined visit to the same critical point."""
    drops = -np.diff(visits.losses)[max(number - 1, 0) : number + 1]
    if not len(drops):
        return None
    within, loss = SAME_LEVEL * float(np.min(drops)), float(visits.losses[number])
    near = [known for known in catalogue if abs(loss - known.loss) <= within]
    near = [known for known in near if _same_units(visits.effective_widths[number], known.widths)]
    return min(near, key=lambda known: abs(loss - known.loss), default=None)


def _same_units(some: tuple[EffectiveWidth, ...], others: tuple[EffectiveWidth, ...]) -> bool:
    """Whether all layers have the same number of units in use, of about the same sizes and in like groups."""
    for one, other in zip(some, others, strict=True):
        if one.width != other.width or one.embedding != other.embedding:
            return False
        sizes = np.stack([one.sizes[: one.width], other.sizes[: other.width]])
        if np.any(np.ptp(sizes, axis=0) > SAME_SIZE * np.max(sizes, axis=0, initial=0.0)):
            return False
        # Copies of a unit share its outgoing weight, in shares that decide the curvature between them.
        if one.embedding in ("i", "ii") and sorted(_counts(one)) != sorted(_counts(other)):
            return False
    return True


def _counts(effective: EffectiveWidth) -> list[int]:
    """The number of units in each group in use."""
    groups = effective.groups
    return [] if groups is None else np.bincount(groups[groups >= 0]).tolist()
