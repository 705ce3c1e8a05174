"""The JSON record of a run."""

import importlib.metadata
import math
import platform
from typing import Any

from ...analysis.symmetries.conservation import conserved_drift
from ...analysis.visits.itinerary import Itinerary
from ...analysis.visits.visit import Visit
from ...flows import Trajectory

# Rises when a field changes its meaning; fields may be added without.
SCHEMA = 1


def record(name: str, seed: int, trajectory: Trajectory, visits: Itinerary, **settings: Any) -> dict[str, Any]:
    """Everything that a run found, as plain values; numbers that do not exist are `None`, never 0 or NaN.

    Args:
        name: name of the experiment.
        seed: its seed.
        trajectory: the flow.
        visits: its itinerary.
        **settings: whatever else the run was made with.

    Returns:
        The record, ready for JSON.
    """
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
            "visits": [visit_record(visit) for visit in visits],
            "conserved_drift": conserved_drift(trajectory),
            "energy_error": trajectory.energy_error,
        }
    )


def visit_record(visit: Visit) -> dict[str, Any]:
    """One visit as plain values."""
    passage, point, kind, left = visit.passage, visit.critical_point, visit.kind, visit.escape
    effective, spectral = visit.effective_width, kind.spectrum
    return {
        "time": passage.time,
        "arrival": passage.arrival,
        "departure": passage.departure,
        "dwell": passage.dwell,
        "loss": visit.loss,
        "speed": visit.speed,
        "effective_width": effective and effective.width,
        "effective_widths": [each.width for each in visit.effective_widths],
        "effective_width_gap": effective and effective.gap,
        "embedding": effective and effective.embedding,
        "critical_point": {
            "loss": point.loss,
            "gradient_norm": point.gradient_norm,
            "distance": point.distance,
            "converged": point.converged,
        },
        "kind": kind.name,
        "evidence": kind.evidence,
        "index": kind.index,
        "nullity": kind.nullity,
        "zero_threshold": None if spectral is None else spectral.zero_threshold,
        "order": kind.order,
        "null_space": kind.null_space
        and {
            "symmetry": kind.null_space.symmetry,
            "families": kind.null_space.families,
            "unexplained": kind.null_space.unexplained,
        },
        "proof": "numerical evidence only" if kind.certificate is None else kind.certificate.summary,
        "escape": left
        and {
            "rate_predicted": left.rate_predicted,
            "rate_measured": left.rate_measured,
            "e_folds": left.e_folds,
            "overlap": left.overlap,
            "dwell_predicted": left.dwell_predicted,
            "seeded_by_rounding": left.seeded_by_rounding,
        },
    }


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
