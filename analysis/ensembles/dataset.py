"""The visits of many flows as one labelled dataset."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ...flows import Ensemble, Result
from ...flows.ensembles.history import Member
from ..thresholds import Thresholds
from ..visits.passages import Passage
from ..visits.steady_rate import steady_rate
from .shared_points import Found, Known
from .visits import MemberVisits, padded_widths

if TYPE_CHECKING:
    from xarray import Dataset

# Long names of the variables of a visit; numbers are NaN where they do not exist, counts −1, names empty.
NUMBERS = {
    "loss": "loss at closest approach",
    "speed": "speed at closest approach",
    "time": "time of closest approach",
    "arrival": "time of arrival",
    "departure": "time of departure",
    "dwell": "dwell time",
    "e_folds": "e-folds of growth on the steadiest phase of the departure",
    "rate_measured": "escape rate on that phase; where the critical point is another member's, of the speed",
    "rate_predicted": "escape rate predicted from the critical point",
    "dwell_predicted": "dwell time predicted from the state at arrival",
}
COUNTS = {
    "index": "number of negative eigenvalues of the Hessian",
    "nullity": "number of zero eigenvalues",
    "order": "order of the lowest-order form along which the loss falls",
}


def visits_dataset(
    ensemble: Ensemble, visits: tuple[MemberVisits, ...], found: Found | None, thresholds: Thresholds
) -> "Dataset":
    """The visits of every member as a dataset.

    Args:
        ensemble: the flows.
        visits: of every member.
        found: their critical points; `None` without any.
        thresholds: `steady`, for rates.

    Returns:
        A dataset with dimensions `member` and `visit`, and `layer` for `effective_widths`; the parameters of a function
        that made the models are coordinates of `member`.
    """
    # Here, since it takes most of a second, and few need it.
    import xarray

    longest = max((len(each) for each in visits), default=0)
    shape = len(visits), longest
    numbers = {name: np.full(shape, np.nan) for name in NUMBERS}
    counts = {name: np.full(shape, -1, np.int32) for name in COUNTS}
    kind, members = np.full(shape, "", object), ensemble.members
    for m, (member, each) in enumerate(zip(members, visits, strict=True)):
        for v, passage in enumerate(each.passages):
            known = None if found is None else found.known[m][v]
            row = _passage(each, v)
            row |= _escape(
                member, passage, known, known is not None and (known.member, known.number) != (m, v), thresholds
            )
            for name, value in row.items():
                numbers[name][m, v] = np.nan if value is None else value
            for name, value in _counts(known).items():
                counts[name][m, v] = -1 if value is None else value
            kind[m, v] = "" if known is None else known.visit.kind.name
    widths, clear = padded_widths(visits)
    variables: dict[str, Any] = {
        name: (("member", "visit"), numbers[name], {"long_name": NUMBERS[name]}) for name in NUMBERS
    }
    variables |= {name: (("member", "visit"), counts[name], {"long_name": COUNTS[name]}) for name in COUNTS}
    first = widths[..., 0] if widths.shape[2] else np.full(shape, -1, np.int32)
    variables |= {
        "effective_width": (("member", "visit"), first, {"long_name": "effective width of the first layer of units"}),
        "effective_widths": (("member", "visit", "layer"), widths, {"long_name": "effective width of each layer"}),
        "width_clear": (("member", "visit", "layer"), clear, {"long_name": "whether the effective width is clear"}),
        "kind": (("member", "visit"), kind.astype(str), {"long_name": "kind of the critical point"}),
    }
    variables |= {name: ("member", values) for name, values in _of_members(members, visits, found).items()}
    parameters = {name: ("member", values) for name, values in ensemble.parameters.items()}
    return xarray.Dataset(
        variables, coords={"member": np.arange(len(members)), "visit": np.arange(longest), **parameters}
    )


def _passage(visits: MemberVisits, number: int) -> dict[str, float | None]:
    passage = visits.passages[number]
    return {
        "loss": float(visits.losses[number]),
        "speed": float(visits.speeds[number]),
        "time": passage.time,
        "arrival": passage.arrival,
        "departure": passage.departure,
        "dwell": passage.dwell,
    }


def _escape(
    member: Member, passage: Passage, known: Known | None, shared: bool, thresholds: Thresholds
) -> dict[str, float | None]:
    if known is None or known.visit.escape is None or passage.departure is None:
        return {}
    escape = known.visit.escape
    if not shared:
        names = ("e_folds", "rate_measured", "rate_predicted", "dwell_predicted")
        return {name: getattr(escape, name) for name in names}
    found: dict[str, float | None] = {"rate_predicted": escape.rate_predicted}
    if escape.order != 2:
        return found
    # Beside a strict saddle the speed grows like the distance from it; how far it is, depends on the member.
    first = int(np.searchsorted(member.ts, passage.arrival))
    last = max(int(np.searchsorted(member.ts, passage.departure)), first + 2)
    ts, speeds = member.ts[first : last + 1], member.speeds[first : last + 1]
    rate, e_folds = steady_rate(ts, speeds, 2, steady=thresholds.steady) if len(ts) > 2 else (None, 0.0)
    return found | {"rate_measured": rate, "e_folds": e_folds}


def _counts(known: Known | None) -> dict[str, int | None]:
    if known is None:
        return {}
    kind = known.visit.kind
    return {"index": kind.index, "nullity": kind.nullity, "order": kind.order}


def _censored(member: Member, visits: MemberVisits, known: tuple[Known | None, ...] | None) -> bool:
    """Whether the flow was cut off on a plateau that it would leave; without a kind, whether it still moved."""
    if not len(visits):
        return False
    if known and (last := known[-1]) is not None:
        return last.visit.kind.is_left
    return member.result is not Result.converged and not visits.passages[-1].at_noise


def _of_members(
    members: tuple[Member, ...], visits: tuple[MemberVisits, ...], found: Found | None
) -> dict[str, np.ndarray]:
    known = [None] * len(members) if found is None else found.known
    return {
        "visits": np.array([len(each) for each in visits], np.int32),
        "result": np.array([member.result.value for member in members]),
        "failure": np.array([member.failure for member in members]),
        "loss_initial": np.array([member.losses[0] for member in members], float),
        "loss_final": np.array([member.losses[-1] for member in members], float),
        "t_end": np.array([member.ts[-1] for member in members], float),
        "censored": np.array([_censored(*each) for each in zip(members, visits, known, strict=True)], bool),
        "num_steps": np.array([member.stats["num_steps"] for member in members], np.int32),
    }
