"""Plateaus of ensembles: how many, when they end, how long they last; and the networks that ensembles are made of."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ...analysis.statistics.medians import Median, censored_median
from ...analysis.visits.levels import first_time_below
from ...analysis.visits.passages import closest_approaches
from ...flows import LossCurves
from ...models import TwoLayer, incoming, outgoing
from ...models.architecture import Architecture
from ...models.units import with_units
from ..data.synthetic import seed_keys


def padded(architecture: Architecture, width: int, scale: Any, room: int, *, key: PRNGKeyArray) -> TwoLayer:
    """A network of `width` random units, filled up with zero units to `room`."""
    # Zero units stay zero and do not act (Theorem 3 ii), so that networks of several widths make one ensemble.
    model = TwoLayer(architecture, width=room, scale=1.0, key=key)
    kept = scale * (np.arange(room) < width)[:, None]
    return with_units(model, kept * incoming(model), kept * outgoing(model))


# Share of the whole drop above which a plateau is an intermediate one. Weights that decay before others grow make a
# minimum of the speed on the first plateau.
FALLEN = 1e-2


def count_plateaus(curves: LossCurves) -> Int[np.ndarray, " B"]:
    """How many plateaus each flow has between the first and the end: prominent minima of its speed, as in visits."""
    counts = []
    for losses, speeds in zip(curves.losses, curves.speeds, strict=True):
        # Speeds below 1e-5 of the largest are dominated by the integrator's error, as is everything after the loss has
        # come within 1e-6 of its end.
        end = int(np.argmax(losses <= losses[-1] + 1e-6 * losses[0]))
        found = closest_approaches(speeds[: end + 1], 1e-5 * np.max(speeds))
        fallen = losses[0] - losses[found] > FALLEN * (losses[0] - losses[-1])
        counts.append(np.sum(fallen & (found < end)))
    return np.array(counts)


def crossings(
    ts: Float[np.ndarray, "B T"], losses: Float[np.ndarray, "B T"], level: float | Float[np.ndarray, " B"]
) -> Float[np.ndarray, " B"]:
    """When each curve first falls to a level, linearly between its times; NaN where it does not."""
    levels = np.broadcast_to(level, losses.shape[:1])
    times = [first_time_below(*curve) for curve in zip(ts, losses, levels, strict=True)]
    return np.array([np.nan if time is None else time for time in times])


class Lengths(eqx.Module):
    """Times between two events of each flow.

    Attributes:
        values: the times; where the second event lies beyond the horizon, how long it had not come by then.
        censored: where that is so.
    """

    values: Float[np.ndarray, " B"]
    censored: Bool[np.ndarray, " B"]

    @property
    def median(self) -> Median:
        """The median with its interval, lower bounds counted as such."""
        return censored_median(self.values, self.censored)


class PlateauTimes(eqx.Module):
    """When the drops between given plateaus are half done, and how long each plateau before them lasts.

    A plateau lasts from 90 % of the preceding drop (or time 0) to 10 % of the following one.

    Attributes:
        middles: times of half the drop, one column per drop.
        dwells: dwell times on the plateau before each drop.
        ends: the horizon of each flow.
    """

    middles: Float[np.ndarray, "B L"]
    dwells: Float[np.ndarray, "B L"]
    ends: Float[np.ndarray, " B"]

    def drop(self, number: int) -> Lengths:
        """The times of half a drop, counted from 0."""
        return _until(self.middles[:, number], self.ends)

    @property
    def first_dwell(self) -> Lengths:
        """The dwell times on the first plateau."""
        return _until(self.dwells[:, 0], self.ends)

    @property
    def gap(self) -> Lengths:
        """The times between the first and the last drop: all intermediate plateaus together."""
        first = self.drop(0)
        return _until(self.middles[:, -1] - first.values, self.ends - first.values)


def _until(values: Float[np.ndarray, " B"], ends: Float[np.ndarray, " B"]) -> Lengths:
    missing = np.isnan(values)
    # A lower bound of zero says nothing.
    return Lengths(values=np.where(missing, np.where(ends > 0, ends, np.nan), values), censored=missing)


def plateau_times(curves: LossCurves, levels: Float[np.ndarray, " levels"], fraction: float = 0.1) -> PlateauTimes:
    """The times of each curve for plateau levels that fall from the first plateau to the end."""

    def times(shares: Any) -> Any:
        return np.stack([crossings(curves.ts, curves.losses, level) for level in shares], axis=1)

    steps = -np.diff(levels)
    ends, starts = times(levels[:-1] - fraction * steps), times(levels[1:] + fraction * steps)
    arrivals = np.concatenate([np.zeros((len(ends), 1)), starts[:, :-1]], axis=1)
    return PlateauTimes(middles=times(levels[:-1] - steps / 2), dwells=ends - arrivals, ends=curves.ts[:, -1])


def seed_key(seed: int) -> Array:
    """The random key of one seed's initial weights."""
    return seed_keys(seed)[1]
