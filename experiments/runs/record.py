"""The JSON record of a run."""

import importlib.metadata
import math
import platform
from collections.abc import Mapping
from typing import Any

from ...analysis.symmetries.conservation import conserved_drift
from ...analysis.visits.itinerary import Itinerary
from ...analysis.visits.visit import Visit
from ...flows import Trajectory
from ..setups.experiment import Remarks

# Rises when a field changes its meaning; fields may be added without.
SCHEMA = 1


def record(
    name: str,
    seed: int,
    trajectory: Trajectory,
    visits: Itinerary,
    *,
    remarks: Remarks | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Everything that a run found, as plain values; numbers that do not exist are `None`, never 0 or NaN.

    Args:
        name: name of the experiment.
        seed: its seed.
        trajectory: the flow.
        visits: its itinerary.
        remarks: what the models at the visits compute; by default nothing is said of it.
        **settings: whatever else the run was made with.

    Returns:
        The record, ready for JSON.
    """
    said: tuple[Mapping[str, Any], ...] = ({},) * len(visits) if remarks is None else remarks.values
    return _plain(
        {
            "schema": SCHEMA,
            "experiment": name,
            "seed": seed,
            "settings": settings,
            "versions": versions(),
            "result": trajectory.result.value,
            "stats": trajectory.stats,
            "t_end": trajectory.ts[-1],
            "visits": [visit_record(visit) | dict(more) for visit, more in zip(visits, said, strict=True)],
            "conserved_drift": conserved_drift(trajectory),
            "energy_error": trajectory.energy_error,
        }
    )


def visit_record(visit: Visit) -> dict[str, Any]:
    """One visit as plain values."""
    passage, kind, effective = visit.passage, visit.kind, visit.effective_width
    null_space = ("symmetry", "families", "free", "interpolation", "unexplained")
    escape = ("rate_predicted", "rate_measured", "e_folds", "overlap", "seeded_by_rounding")
    dwell = ("dwell_predicted", "dwell_error")
    return {
        **_fields(passage, "time", "arrival", "departure", "dwell"),
        **_fields(visit, "loss", "speed"),
        "effective_width": effective and effective.width,
        "effective_widths": [each.width for each in visit.effective_widths],
        "effective_width_gap": effective and effective.gap,
        "embedding": effective and effective.embedding,
        "critical_point": _fields(visit.critical_point, "loss", "gradient_norm", "distance", "converged"),
        "kind": kind.name,
        **_fields(kind, "evidence", "index", "nullity"),
        "zeros": kind.zeros and _fields(kind.zeros, "by_symmetry", "at_most", "estimate", "counted"),
        "zero_threshold": None if kind.spectrum is None else kind.spectrum.zero_threshold,
        "order": kind.order,
        "null_space": kind.null_space and _fields(kind.null_space, *null_space),
        "proof": "numerical evidence only" if kind.certificate is None else kind.certificate.summary,
        "escape": visit.escape and _fields(visit.escape, *escape, *dwell),
    }


def _fields(record: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    packages = ("saddlescope", "jax", "equinox", "diffrax", "optimistix", "lineax", "numpy", "scipy")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | str | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
