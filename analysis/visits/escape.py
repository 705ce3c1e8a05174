"""How the flow left a saddle: direction, rate, dwell time."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Trajectory
from ...flows.landscapes.unit_positions import unit_history
from ...models.units import units_matrix
from ..critical_points.critical_point import CriticalPoint
from ..critical_points.kind import Kind
from ..embeddings.embedding import Embedding, LayeredEmbedding
from ..embeddings.width import ray_direction
from ..leading_order.added_unit import AddedUnitForm, steepness
from ..leading_order.null_space_form import NullSpaceForm, form_along
from .passages import FRACTION, Passage

# A growth phase is steady while its local rate varies by no more than this share.
STEADY = 0.01
# An unstable coordinate below this share of the weights was made by rounding, not by the flow.
ROUNDING = 4 * np.finfo(np.float64).eps


class Escape(eqx.Module):
    r"""Departure from a saddle, along the amplitude r of the winning direction: $\dot r = c\, r^{p-1}$.

    - `order`: p, 2 for exponential escape; `rate_predicted`: c from the saddle alone: |λ| of the winning eigenvalue
      (strict), s (non-smooth), pU (degenerate, where it is approached from below as the direction turns); where a
      degenerate saddle is left otherwise than through small units, r is the distance from it;
    - `rate_measured`: c on the flow's steadiest phase, `None` if it has none; `e_folds`: ln of r's growth on it;
    - `overlap`: strict: cosine between the displacement at departure and the winning eigenspace; non-smooth: cosine
      between the direction of the growing ray and the maximiser of the form; degenerate: the share of the steepest
      descent that the direction of the winning unit, or of the whole displacement, attains,
      $F_p(d) / F_p(d_{max})$, since equally steep directions are
      the rule there;
    - `dwell_predicted`: time from arrival to departure by $\dot r = c r^{p-1}$ from r at arrival; for p ≥ 3 this takes
      the unit to be on the steepest direction already, so that at the saddle itself it is the shortest time possible;
    - `direction`: the displacement from closest approach to departure, normalised;
    - `seeded_by_rounding`: r was at rounding level of the weights, so that the time of escape means nothing.
    """

    order: int
    rate_predicted: float | None
    rate_measured: float | None
    e_folds: float
    overlap: float | None
    dwell_predicted: float | None
    direction: Float[np.ndarray, " n"]
    seeded_by_rounding: bool


def escape(trajectory: Trajectory, passage: Passage, point: CriticalPoint, kind: Kind, drop: float) -> Escape | None:
    """Analyses the departure from a saddle; `None` where the flow did not leave or the point is not a saddle.

    **Arguments:** `trajectory`, `passage`; `point`, `kind`: the saddle; `drop`: loss between this visit and the
    next.
    """
    if passage.departure is None or kind.order is None:
        return None
    first = int(np.searchsorted(trajectory.ts, passage.arrival))
    last = max(int(np.searchsorted(trajectory.ts, passage.departure)), first + 2)
    ts, thetas = trajectory.ts[first : last + 1], trajectory.thetas[first : last + 1]
    if len(ts) < 3:
        return None
    if kind.name == "strict saddle" and kind.spectrum is not None:
        rate, amplitude, overlap = _from_eigenspace(thetas, point, kind)
    elif isinstance(point.embedding, LayeredEmbedding):
        form = kind.added_unit_form or kind.null_space_form
        rate = None if form is None else form.rate
        amplitude, overlap = _outside(trajectory, thetas, point.embedding), None
    elif (
        isinstance(kind.added_unit_form, AddedUnitForm)
        and point.embedding is not None
        and np.any(point.embedding.dormant)
    ):
        rate, amplitude, overlap = _from_dormant(trajectory, thetas, point, kind.added_unit_form, kind.name)
    elif kind.null_space_form is not None and kind.null_space_form.rate is not None:
        rate, amplitude, overlap = _from_form(trajectory, thetas, point, kind.null_space_form)
    else:
        rate, amplitude, overlap = None, np.linalg.norm(thetas - point.theta, axis=1), None
    p = kind.order
    measured, e_folds = steady_rate(ts, amplitude, p)
    displacement = thetas[-1] - trajectory.thetas[passage.index]
    norm = np.linalg.norm(displacement)
    seeded = kind.name == "strict saddle" and bool(np.any(amplitude < ROUNDING * np.linalg.norm(thetas, axis=1)))
    return Escape(
        p,
        rate,
        measured,
        e_folds,
        overlap,
        None if rate is None else _dwell(amplitude[0], rate, p, drop),
        displacement / norm if norm > 0 else displacement,
        seeded,
    )


def _from_eigenspace(thetas, point: CriticalPoint, kind: Kind):
    """The unstable eigenspace with the largest coordinate at departure, not always that of the lowest eigenvalue."""
    spectral = kind.spectrum
    assert spectral is not None  # strict saddles are told by their spectrum
    values = spectral.eigenvalues
    displacement = thetas - point.theta
    coordinates = displacement @ spectral.eigenvectors[:, : spectral.index]
    winner = max(spectral.eigenspaces(), key=lambda space: np.linalg.norm(coordinates[-1, space]))
    amplitude = np.linalg.norm(coordinates[:, winner], axis=1)
    left = thetas[-1] - thetas[np.argmin(np.linalg.norm(displacement, axis=1))]
    projected = left @ spectral.eigenvectors[:, winner]
    overlap = np.linalg.norm(projected) / max(np.linalg.norm(left), 1e-300)
    return float(-np.mean(values[winner])), amplitude, float(overlap)


def _from_dormant(trajectory: Trajectory, thetas, point: CriticalPoint, form: AddedUnitForm, name: str):
    """Units that the saddle does not use: their growth along the steepest direction of an added unit."""
    assert isinstance(point.embedding, Embedding)
    rows = unit_history(trajectory.initial_model, thetas)[:, point.embedding.dormant]
    if name == "non-smooth saddle":
        direction = ray_direction(rows[-1])
        steepest = max(form.maximisers, key=lambda row: row @ direction)
        amplitude = np.linalg.norm(np.maximum(rows @ steepest, 0.0), axis=1)
        return form.rate, amplitude, float(steepest @ direction)
    amplitude = np.linalg.norm(rows, axis=2)
    winner = int(np.argmax(amplitude[-1]))
    direction = rows[-1, winner] / amplitude[-1, winner]
    gain = steepness(trajectory.landscape, direction, embedding=point.embedding)
    return form.rate, amplitude[:, winner], gain * form.order / form.rate


def _from_form(trajectory: Trajectory, thetas, point: CriticalPoint, form: NullSpaceForm):
    """Null directions of the Hessian: growth of the distance, and how steep the way was that the flow took."""
    displacement = thetas - point.theta
    amplitude = np.linalg.norm(displacement, axis=1)
    direction = displacement[-1] / amplitude[-1]
    assert form.order is not None  # a form with a rate has an order
    gain = form_along(trajectory.landscape, point.theta, direction, form.order)
    return form.rate, amplitude, gain / form.lowest


def _outside(trajectory: Trajectory, thetas, embedding: LayeredEmbedding) -> Float[np.ndarray, " T"]:
    """Units in several layers: the size of what, of all weights together, lies outside the saddle's narrow network."""
    maps = [(p @ q.T, q @ p.T, layer) for p, q, layer in embedding.maps]
    projection = units_matrix(trajectory.initial_model, maps)
    return np.linalg.norm(thetas - thetas @ projection.T, axis=1)


def steady_rate(ts: Float[np.ndarray, " T"], r: Float[np.ndarray, " T"], order: int) -> tuple[float | None, float]:
    r"""The coefficient c of $\dot r = c\,r^{p-1}$ on the longest phase (in ln r) on which it is steady.

    The slope of $\ln r$ (p = 2) or $r^{2-p} / (2 - p)$ against time between neighbouring times may vary by one per
    cent over the phase.

    **Returns:** c (`None` without growth) and the e-folds of r over the phase.
    """
    r = np.maximum(r, 1e-300)
    level = np.log(r)
    straight = level if order == 2 else r ** (2.0 - order) / (2.0 - order)
    slopes = np.diff(straight) / np.diff(ts)
    best: tuple[float | None, float] = (None, 0.0)
    for i in range(len(slopes)):
        if slopes[i] <= 0:
            continue
        highest, lowest = np.maximum.accumulate(slopes[i:]), np.minimum.accumulate(slopes[i:])
        steady = highest - lowest <= STEADY * lowest
        j = i + (len(steady) if np.all(steady) else int(np.argmin(steady)))
        if level[j] - level[i] > best[1]:
            best = (float((straight[j] - straight[i]) / (ts[j] - ts[i])), float(level[j] - level[i]))
    return best


def _dwell(r: float, rate: float, order: int, drop: float) -> float | None:
    """Time in which r grows until the loss has fallen by the departing fraction of the drop, (c/p) r^p."""
    if not (r > 0 and rate > 0 and drop > 0):
        return None
    end = (order * FRACTION * drop / rate) ** (1 / order)
    if order == 2:
        return float(np.log(end / r) / rate)
    return float((r ** (2 - order) - end ** (2 - order)) / ((order - 2) * rate))
