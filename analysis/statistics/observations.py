"""Dwell times, arrivals, numbers of plateaus and widths of many flows, with those that are lower bounds marked."""

from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

if TYPE_CHECKING:
    import xarray as xr

# What each flow has once, and what it has on every visit.
ONCE, PER_VISIT = ("plateaus", "width"), ("dwell", "arrival")
# A count that may still grow is at least the present one; the survival function takes "censored at t" for "above t".
BELOW = 0.5


class Observations(eqx.Module):
    """One quantity of many flows.

    Attributes:
        values: observations or lower bounds of them; NaN where a flow has none.
        censored: which are lower bounds.
    """

    values: Float[np.ndarray, "*shape"]
    censored: Bool[np.ndarray, "*shape"]


def finished(flows: "xr.Dataset") -> Bool[np.ndarray, "*shape"]:
    """Which flows were computed and did not fail."""
    return np.asarray((flows["result"] != "") & (flows["failure"] == ""))


def observations(flows: "xr.Dataset", quantity: str) -> Observations:
    """One quantity of all flows of a cell or of a collected sweep.

    - "dwell": the dwell time on each visit. A flow that the horizon cut off on a plateau has dwelt there at least until
      then; at a minimum, where a flow stays, there is none.
    - "arrival": the time of arrival on each visit. A flow that was cut off before is still to arrive, if at all.
    - "plateaus": how many a flow visits, the minimum where it ends not counted. One that was cut off visits at least as
      many as it has left: where it is, it may end.
    - "width": the largest effective width reached, with the same bound.

    Flows that failed or are missing have no observations.

    Args:
        flows: a labelled array with the dimensions `seed`, `visit` and those of the sweep, as `collect` returns it.
        quantity: which.

    Returns:
        The observations: per visit with `visit` as last dimension, else one per flow.

    Raises:
        ValueError: for another quantity; the message lists them.
    """
    if quantity not in (*ONCE, *PER_VISIT):
        raise ValueError(f"unknown quantity {quantity!r}; there are: {', '.join((*ONCE, *PER_VISIT))}.")
    outer = [name for name in flows["visits"].dims]
    there, cut = finished(flows), np.asarray(flows["censored"], bool)
    visits, end = np.asarray(flows["visits"]), np.asarray(flows["t_end"], float)
    if quantity == "plateaus":
        count = visits - 1.0 - BELOW * cut
        return Observations(values=np.where(there, count, np.nan), censored=cut & there)
    per_visit = lambda name: np.asarray(flows[name].transpose(*outer, "visit"))  # noqa: E731
    if quantity == "width":
        width = np.max(per_visit("effective_width"), axis=-1, initial=-1)
        known = there & (width >= 0)
        return Observations(values=np.where(known, width - BELOW * cut, np.nan), censored=cut & known)
    number = np.arange(flows.sizes["visit"])
    arrival = np.asarray(per_visit("arrival"), float)
    last = number == visits[..., None] - 1
    there, cut, end = there[..., None], cut[..., None], end[..., None]
    if quantity == "dwell":
        values = np.where(number < visits[..., None] - 1, np.asarray(per_visit("dwell"), float), np.nan)
        values = np.where(last & cut, end - arrival, values)
        return _observed(values, last & cut, there)
    to_come = (number >= visits[..., None]) & cut
    return _observed(np.where(to_come, end, arrival), to_come, there)


def _observed(values: Any, censored: Any, there: Any) -> Observations:
    values = np.where(there, values, np.nan)
    return Observations(values=values, censored=censored & ~np.isnan(values))
