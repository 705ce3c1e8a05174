"""Plateaus of ensembles: how many, when they end, how long they last; and the networks that ensembles are made of."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

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


def count_plateaus(curves: LossCurves) -> Int[np.ndarray, " B"]:
    """How many plateaus each flow has between start and end: prominent minima of its speed, as in visits."""
    counts = []
    for losses, speeds in zip(curves.losses, curves.speeds, strict=True):
        # Speeds below 1e-5 of the largest are dominated by the integrator's error, as is everything after the loss has
        # come within 1e-6 of its end.
        end = int(np.argmax(losses <= losses[-1] + 1e-6 * losses[0]))
        found = closest_approaches(speeds[: end + 1], 1e-5 * np.max(speeds))
        counts.append(np.sum((found > 0) & (found < end)))
    return np.array(counts)


def crossings(
    ts: Float[np.ndarray, "B T"], losses: Float[np.ndarray, "B T"], level: float | Float[np.ndarray, " B"]
) -> Float[np.ndarray, " B"]:
    """When each curve first falls to a level, linearly between its times; NaN where it does not."""
    levels = np.broadcast_to(level, losses.shape[:1])
    times = [first_time_below(*curve) for curve in zip(ts, losses, levels, strict=True)]
    return np.array([np.nan if time is None else time for time in times])


class PlateauTimes(eqx.Module):
    """When the drops between given plateaus are half done, and how long each plateau before them lasts.

    A plateau lasts from 90 % of the preceding drop (or time 0) to 10 % of the following one.

    Attributes:
        middles: times of half the drop, one column per drop.
        dwells: dwell times on the plateau before each drop.
    """

    middles: Float[np.ndarray, "B L"]
    dwells: Float[np.ndarray, "B L"]


def plateau_times(curves: LossCurves, levels: Float[np.ndarray, " levels"], fraction: float = 0.1) -> PlateauTimes:
    """The times of each curve for plateau levels that fall from the first plateau to the end."""

    def times(shares: Any) -> Any:
        return np.stack([crossings(curves.ts, curves.losses, level) for level in shares], axis=1)

    steps = -np.diff(levels)
    ends, starts = times(levels[:-1] - fraction * steps), times(levels[1:] + fraction * steps)
    arrivals = np.concatenate([np.zeros((len(ends), 1)), starts[:, :-1]], axis=1)
    return PlateauTimes(middles=times(levels[:-1] - steps / 2), dwells=ends - arrivals)


def seed_key(seed: int) -> Array:
    """The random key of one seed's initial weights."""
    return seed_keys(seed)[1]
