"""How the flow left a saddle: direction, rate, dwell time."""

from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Trajectory, flatten
from ...flows.landscapes.unit_positions import unit_history
from ..critical_points.critical_point import CriticalPoint
from ..critical_points.kind import Kind
from ..curvature.spectrum import eigenspaces
from ..embeddings.embedding import Embedding
from ..embeddings.width import ray_direction
from ..leading_order.added_unit import AddedUnitForm, steepness
from ..leading_order.added_units import AddedUnitsForm
from ..leading_order.null_space_form import NullSpaceForm, form_along
from ..thresholds import STANDARD, Thresholds
from .dwell import Dwell, predicted_dwell, said_share
from .lost_coordinates import lost_to_rounding
from .passages import Passage
from .steady_rate import TINY, steady_rate

# A flow that leaves by so much more steeply than the steepest descent that a search found shows that it found another.
STEEPER = 1.01


class Escape(eqx.Module):
    r"""Departure from a saddle, along the amplitude r of the winning direction: $\dot r = c\, r^{p-1}$.

    Attributes:
        order: p, 2 for exponential escape.
        rate_predicted: c from the saddle alone: |λ| of the winning eigenvalue (strict), s (non-smooth), pU (degenerate,
            where it is approached from below as the direction turns); where a degenerate saddle is left otherwise than
            through small units, r is the distance from it. `None` without a prediction, or where the flow is steeper.
        rate_measured: c on the flow's steadiest phase, `None` where none is long enough.
        e_folds: ln of r's growth on that phase.
        overlap: strict: cosine between the displacement at departure and the winning eigenspace; non-smooth: cosine
            between the direction of the growing ray and the maximiser of the form; degenerate: the share of the
            steepest descent that the direction of the winning unit, of all units to spare, or of the whole displacement
            attains, $F_p(d) / F_p(d_{max})$, since equally steep directions are the rule there. `None` without one.
        dwell_predicted: time from arrival to departure by the leading-order form's flow from the state at arrival, see
            `predicted_dwell`; `None` where no prediction holds to within `dwell_error` of the thresholds.
        dwell_error: the error of the prediction as a share of it, estimated from the next order; `None` without one.
        direction: the displacement from closest approach to departure, normalised.
        seeded_by_rounding: strict: whether r was ever below its rounding, so that the time of escape means nothing.
    """

    order: int
    rate_predicted: float | None
    rate_measured: float | None
    e_folds: float
    overlap: float | None
    dwell_predicted: float | None
    dwell_error: float | None
    direction: Float[np.ndarray, " n"]
    seeded_by_rounding: bool

    @property
    def summary(self) -> str:
        """Order and rates in one line."""
        growth = "exponential" if self.order == 2 else f"algebraic of order {self.order}"
        measured = "no steady rate" if self.rate_measured is None else f"rate {self.rate_measured:.5g}"
        predicted = "" if self.rate_predicted is None else f" (predicted {self.rate_predicted:.5g})"
        return f"{growth}, {measured}{predicted} over {self.e_folds:.1f} e-folds"

    def __str__(self) -> str:
        overlap = "unknown" if self.overlap is None else f"{self.overlap:.5f}"
        dwell = "no prediction holds"
        if self.dwell_predicted is not None and self.dwell_error is not None:
            dwell = f"{self.dwell_predicted:.5g} predicted, to within {said_share(self.dwell_error)}"
        seed = "rounding: the time of escape means nothing" if self.seeded_by_rounding else "the flow's own weights"
        return (
            f"escape: {self.summary}\n"
            f"  overlap with the predicted direction: {overlap}\n"
            f"  dwell time: {dwell}\n"
            f"  seeded by {seed}"
        )


class _Growth(NamedTuple):
    """Predicted rate, amplitude r as the flow leaves, overlap with the prediction; r's direction at a strict saddle."""

    rate: float | None
    amplitude: Float[np.ndarray, " T"]
    overlap: float | None
    along: Float[np.ndarray, " n"] | None = None


def escape(
    trajectory: Trajectory,
    passage: Passage,
    point: CriticalPoint,
    kind: Kind,
    drop: float,
    *,
    thresholds: Thresholds = STANDARD,
) -> Escape | None:
    """Analyses the departure from a saddle.

    Args:
        trajectory: the flow.
        passage: near the saddle.
        point: the saddle.
        kind: of the saddle.
        drop: fall of the loss between this visit and the next.
        thresholds: `steady`, `seeded`, `drop_fraction` and `dwell_error`.

    Returns:
        The escape; `None` where the flow did not leave or the point is not a saddle.
    """
    if passage.departure is None or kind.order is None:
        return None
    first = int(np.searchsorted(trajectory.ts, passage.arrival))
    last = max(int(np.searchsorted(trajectory.ts, passage.departure)), first + 2)
    ts, thetas = trajectory.ts[first : last + 1], trajectory.thetas[first : last + 1]
    if len(ts) < 3:
        return None
    rate, amplitude, overlap, along = _growth(trajectory, thetas, point, kind)
    measured, e_folds = steady_rate(ts, amplitude, kind.order, steady=thresholds.steady)
    displacement = thetas[-1] - trajectory.thetas[passage.index]
    norm = np.linalg.norm(displacement)
    dwell = _dwell(trajectory, passage, first, point, kind, thresholds.drop_fraction * drop)
    # Eigenvectors are known to rounding, and coordinates along them to that share of the displacement.
    resolved = along is None or amplitude[0] >= thresholds.seeded * np.linalg.norm(thetas[0] - point.theta)
    vouched = dwell is not None and dwell.error <= thresholds.dwell_error and resolved
    return Escape(
        order=kind.order,
        rate_predicted=rate,
        rate_measured=measured,
        e_folds=e_folds,
        overlap=overlap,
        dwell_predicted=dwell.time if dwell is not None and vouched else None,
        dwell_error=dwell.error if dwell is not None and vouched else None,
        direction=displacement / norm if norm > 0 else displacement,
        seeded_by_rounding=along is not None
        and lost_to_rounding(trajectory.thetas[: last + 1], point.theta, along, thresholds.seeded),
    )


def _growth(trajectory: Trajectory, thetas: Float[np.ndarray, "T n"], point: CriticalPoint, kind: Kind) -> _Growth:
    """The growing amplitude as the flow leaves, by the kind of the saddle."""
    form, embedding = kind.added_unit_form, point.embedding
    if kind.name == "strict saddle" and kind.spectrum is not None and (index := kind.spectrum.index):
        return _from_eigenspace(thetas, point, kind.spectrum.eigenvalues[:index], kind.spectrum.eigenvectors[:, :index])
    if kind.name == "strict saddle" and kind.negative is not None and (index := kind.negative.index):
        return _from_eigenspace(thetas, point, kind.negative.values[:index], kind.negative.vectors[:, :index])
    if embedding is not None and (embedding.layered or isinstance(form, AddedUnitsForm)):
        return _from_layers(trajectory, thetas, point.theta, embedding, kind)
    if isinstance(form, AddedUnitForm) and embedding is not None and np.any(embedding.dormant):
        return _from_dormant(trajectory, thetas, point, form, kind)
    if kind.null_space_form is not None and kind.null_space_form.rate is not None:
        return _from_form(trajectory, thetas, point, kind.null_space_form)
    return _Growth(None, np.linalg.norm(thetas - point.theta, axis=1), None)


def _from_eigenspace(
    thetas: Float[np.ndarray, "T n"],
    point: CriticalPoint,
    values: Float[np.ndarray, " k"],
    vectors: Float[np.ndarray, "n k"],
) -> _Growth:
    """The unstable eigenspace with the largest coordinate at departure, not always that of the lowest eigenvalue."""
    displacement = thetas - point.theta
    coordinates = displacement @ vectors
    winner = max(eigenspaces(values), key=lambda space: np.linalg.norm(coordinates[-1, space]))
    amplitude = np.linalg.norm(coordinates[:, winner], axis=1)
    moved = thetas[-1] - thetas[np.argmin(np.linalg.norm(displacement, axis=1))]
    overlap = np.linalg.norm(moved @ vectors[:, winner]) / max(np.linalg.norm(moved), TINY)
    along = vectors[:, winner] @ coordinates[-1, winner] / max(amplitude[-1], TINY)
    return _Growth(float(-np.mean(values[winner])), amplitude, float(overlap), along)


def _from_dormant(
    trajectory: Trajectory, thetas: Float[np.ndarray, "T n"], point: CriticalPoint, form: AddedUnitForm, kind: Kind
) -> _Growth:
    """Units that the saddle does not use: their growth along the steepest direction of an added unit."""
    assert point.embedding is not None
    units = unit_history(trajectory.initial_model, thetas)[:, point.embedding.dormant]
    if kind.name == "non-smooth saddle":
        direction = ray_direction(units[-1])
        steepest = max(form.maximisers, key=lambda row: row @ direction)
        amplitude = np.linalg.norm(np.maximum(units @ steepest, 0.0), axis=1)
        return _Growth(form.rate, amplitude, float(steepest @ direction))
    amplitude = np.linalg.norm(units, axis=2)
    winner = int(np.argmax(amplitude[-1]))
    direction = units[-1, winner] / amplitude[-1, winner]
    gain = steepness(trajectory.landscape, direction, embedding=point.embedding)
    return _on_steepest(form.rate, amplitude[:, winner], gain * form.order / form.rate)


def _from_form(
    trajectory: Trajectory, thetas: Float[np.ndarray, "T n"], point: CriticalPoint, form: NullSpaceForm
) -> _Growth:
    """Null directions of the Hessian: growth of the distance, and how steep the direction was that the flow took."""
    displacement = thetas - point.theta
    amplitude = np.linalg.norm(displacement, axis=1)
    direction = displacement[-1] / amplitude[-1]
    assert form.order is not None  # a form with a rate has an order
    gain = form_along(trajectory.landscape, point.theta, direction, form.order)
    return _on_steepest(form.rate, amplitude, gain / form.lowest)


def _from_layers(
    trajectory: Trajectory,
    thetas: Float[np.ndarray, "T n"],
    theta: Float[np.ndarray, " n"],
    embedding: Embedding,
    kind: Kind,
) -> _Growth:
    """All weights of added units: growth of what is outside the saddle's narrow network, and how steep that was."""
    outside = np.stack([own - flatten(embedding.projected(trajectory.landscape.at(own))) for own in thetas])
    amplitude, along = np.linalg.norm(outside, axis=1), kind.added_unit_form or kind.null_space_form
    if along is None or along.rate is None or along.order is None:
        return _Growth(None, amplitude, None)
    gain = -form_along(trajectory.landscape, theta, outside[-1] / amplitude[-1], along.order)
    return _on_steepest(along.rate, amplitude, gain * along.order / along.rate)


def _on_steepest(rate: float | None, amplitude: Float[np.ndarray, " T"], overlap: float) -> _Growth:
    """Growth beside that on the steepest descent, which is not known where the flow itself finds a steeper one."""
    steeper = overlap > STEEPER
    return _Growth(None if steeper else rate, amplitude, None if steeper else overlap)


def _dwell(
    trajectory: Trajectory, passage: Passage, first: int, point: CriticalPoint, kind: Kind, fall: float
) -> Dwell | None:
    """The predicted time from arrival until the loss is lower by `fall` than at the closest approach."""
    # The first saved state after arrival is a step or less later.
    level = float(trajectory.losses[passage.index]) - fall
    later = predicted_dwell(trajectory.landscape, trajectory.thetas[first], point, kind, level)
    if later is None:
        return None
    time = float(trajectory.ts[first]) - passage.arrival + later.time
    return Dwell(time=time, error=later.error * later.time / time)
