"""The itineraries of many flows."""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np

from ...flows import Ensemble
from ..thresholds import STANDARD, Thresholds
from ..visits.itinerary import Itinerary, itinerary
from .shared_points import Found, Known, shared_points
from .visits import MemberVisits, member_visits

if TYPE_CHECKING:
    from xarray import Dataset


class Itineraries(eqx.Module):
    """The visits of every member of an ensemble, in order of time.

    Attributes:
        ensemble: the flows.
        visits: of every member: passages, losses, speeds, effective widths.
        found: the critical points, refined once for all members that share them; `None` where none were sought.
        thresholds: what counted as a visit, a unit and a zero.
    """

    ensemble: Ensemble
    visits: tuple[MemberVisits, ...]
    found: Found | None
    thresholds: Thresholds

    def __len__(self) -> int:
        return len(self.visits)

    def __getitem__(self, member: int) -> Itinerary:
        """The itinerary of one member with its own critical points and spectra, computed where it is not yet known."""
        known = {} if self.found is None else self.found.itineraries
        if member not in known:
            return itinerary(self.ensemble[member], thresholds=self.thresholds)
        return known[member]

    def known(self, member: int, visit: int) -> Known | None:
        """The visit, of this or another member, whose critical point and kind are this one's; `None` without any."""
        return None if self.found is None else self.found.known[member][visit]

    def dataset(self) -> "Dataset":
        """All visits as an `xarray.Dataset` with dimensions `member` and `visit`; see `visits_dataset`."""
        from .dataset import visits_dataset

        return visits_dataset(self.ensemble, self.visits, self.found, self.thresholds)

    def __str__(self) -> str:
        counts = np.array([len(each) for each in self.visits])
        lines = [f"itineraries of {len(self)} flows, {np.min(counts)} to {np.max(counts)} visits each"]
        for number in range(int(np.max(counts))):
            there = [each for each in self.visits if len(each) > number]
            dwells = [passage.dwell for passage in (each.passages[number] for each in there)]
            left = [dwell for dwell in dwells if dwell is not None]
            losses = f"loss {_middle([float(each.losses[number]) for each in there])}"
            widths = sorted({each.effective_widths[number][0].width for each in there if each.effective_widths[number]})
            line = f"  visit {number}: {len(there)} flows, {losses}, effective width {', '.join(map(str, widths))}"
            lines.append(line + (f", dwell time {_middle(left)}" if left else ", stays"))
        if self.found is not None:
            lines.append(f"  critical points of {len(self.found.itineraries)} members refined")
        return "\n".join(lines)


def _middle(values: list[float]) -> str:
    low, median, high = (float(np.quantile(values, q)) for q in (0.0, 0.5, 1.0))
    return f"{median:.4g} ({low:.4g} to {high:.4g})"


def itineraries(
    ensemble: Ensemble,
    *,
    kinds: bool = True,
    share: bool = True,
    thresholds: Thresholds = STANDARD,
    budget: float | None = None,
) -> Itineraries:
    """The visits of every member of an ensemble, with effective widths and dwell times.

    Args:
        ensemble: the flows, by `ensemble`.
        kinds: whether critical points are refined and classified.
        share: whether a critical point that several members visit is refined once. It is the same, up to symmetry,
            where the members are on one landscape and the visits have the same effective widths, sizes of units within
            a tenth, and loss within a fiftieth of the smaller drop beside it. Its own critical point and spectrum has a
            member in `itineraries(...)[number]`.
        thresholds: as for `itinerary`.
        budget: wall-clock seconds after which no further critical point is sought.

    Returns:
        The itineraries.
    """
    visits = member_visits(ensemble, thresholds=thresholds)
    found = shared_points(ensemble, visits, share, budget=budget, thresholds=thresholds) if kinds else None
    return Itineraries(ensemble=ensemble, visits=visits, found=found, thresholds=thresholds)
