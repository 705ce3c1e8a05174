"""The figure of an itinerary. Only the figure files import matplotlib."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from ...flows import Trajectory
from ...models import incoming
from ...models.units import layer_of
from ..found_units import with_units_along
from ..visits.itinerary import itinerary
from ..visits.visit import Visit
from .style import FONT, along_time, colour, label, legend

# More columns of small panels than this cannot be read.
COLUMNS = 6
# Of the page of an itinerary, in inches: a row of panels, and the margins for titles, tick labels and names of axes. A
# layout that measures the texts would take a third of the time of `saddlescope run`.
ROW, LEFT, RIGHT, BETWEEN, ABOVE, BELOW = 2.95, 0.7, 0.2, 0.65, 0.42, 0.48


def plot_loss(
    trajectory: Trajectory,
    visits: Sequence[Visit] = (),
    *,
    levels: Sequence[float] = (),
    logarithmic: bool = False,
    decades: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Loss against time, with visits (closest approach; bar from arrival to departure) and predicted plateaus.

    A linear axis shows how far the loss falls, a logarithmic one plateaus of every depth.

    Args:
        trajectory: the flow.
        visits: its itinerary.
        levels: plateau losses predicted by theory.
        logarithmic: whether time is on a logarithmic axis.
        decades: whether the loss is on a logarithmic axis, down to its rounding.
        ax: where to draw, by default in a new figure.

    Returns:
        The axes.
    """
    ax = plt.subplots()[1] if ax is None else ax
    decades = decades and bool(np.any(trajectory.losses > 0))
    floor = np.finfo(float).eps * np.max(np.abs(trajectory.losses)) if decades else -np.inf
    for k, level in enumerate(level for level in levels if level > floor):
        ax.axhline(level, color="0.6", lw=0.8, ls="--", zorder=0, label="theory" if k == 0 else None)
    start = 1 if logarithmic else 0
    ax.plot(trajectory.ts[start:], np.maximum(trajectory.losses[start:], floor), color="k", lw=1.5)
    for number, visit in enumerate(visits):
        passage = visit.passage
        end = trajectory.ts[-1] if passage.departure is None else passage.departure
        height = max(visit.loss, floor)
        ax.plot([passage.arrival, end], 2 * [height], color=colour(number), lw=5, alpha=0.35, solid_capstyle="butt")
        ax.plot(passage.time, height, "o", color=colour(number), ms=6, label=f"visit {number}: {visit.kind.name}")
    ax.set_yscale("log" if decades else "linear")
    if decades and ax.get_ylim()[1] < 10 * ax.get_ylim()[0]:
        for place in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
            place("{x:g}")  # within a decade powers of ten take much room
    along_time(ax, "loss L", logarithmic=logarithmic)
    if ax.get_legend_handles_labels()[0]:
        legend(ax)
    return ax


def plot_speed(
    trajectory: Trajectory, visits: Sequence[Visit] = (), *, logarithmic: bool = False, ax: Axes | None = None
) -> Axes:
    """Speed ‖∇L‖ against time on a logarithmic axis, with the visits at its minima.

    Args:
        trajectory: the flow.
        visits: its itinerary.
        logarithmic: whether time is on a logarithmic axis, too.
        ax: where to draw, by default in a new figure.

    Returns:
        The axes.
    """
    ax = plt.subplots()[1] if ax is None else ax
    start = 1 if logarithmic else 0
    positive = np.where(trajectory.speeds > 0, trajectory.speeds, np.nan)
    ax.plot(trajectory.ts[start:], positive[start:], color="k", lw=1)
    for number, visit in enumerate(visits):
        ax.plot(visit.time, visit.speed, "o", color=colour(number), ms=6)
    # A flow that starts at a critical point has no speed to draw on a logarithmic axis.
    ax.set_yscale("log" if np.any(trajectory.speeds[start:] > 0) else "linear")
    along_time(ax, "speed ‖∇L‖", logarithmic=logarithmic)
    return ax


def plot_units(model: Any, *, limit: float | None = None, number: int = 0, ax: Axes | None = None) -> Axes:
    """The incoming weights of every unit as points in the plane of their first two entries.

    Args:
        model: with units of at least two incoming parameters.
        limit: half the side of the panel, by default 1.15 times the largest weight.
        number: which visit's colour to use.
        ax: where to draw, by default in a new figure.

    Returns:
        The axes.

    Raises:
        ValueError: for units with fewer than two incoming parameters.
    """
    u = np.asarray(incoming(model))
    if u.shape[1] < 2:
        raise ValueError("units with fewer than two incoming parameters cannot be drawn in a plane.")
    ax = plt.subplots()[1] if ax is None else ax
    limit = float(1.15 * np.max(np.abs(u[:, :2]), initial=1e-12)) if limit is None else limit
    # One artist for all units.
    rays = np.stack([np.zeros_like(u[:, :2]), u[:, :2]], axis=1)
    ax.add_collection(LineCollection(list(rays), colors=colour(number), linewidths=0.7, alpha=0.6))
    ax.plot(u[:, 0], u[:, 1], "o", color=colour(number), ms=3.5)
    ax.axhline(0, color="0.85", lw=0.6, zorder=0)
    ax.axvline(0, color="0.85", lw=0.6, zorder=0)
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    ax.locator_params(nbins=3)
    label(ax, "incoming weight 1", "incoming weight 2")
    return ax


def plot_spectrum(visit: Visit, *, number: int = 0, ax: Axes | None = None) -> Axes:
    """The Hessian's eigenvalues in ascending order at the visit's critical point, or why there are none.

    Args:
        visit: one of an itinerary.
        number: which visit's colour to use.
        ax: where to draw, by default in a new figure.

    Returns:
        The axes.
    """
    ax = plt.subplots()[1] if ax is None else ax
    kind, spectrum = visit.kind, visit.kind.spectrum
    told = "" if kind.index is None or kind.nullity is None else f"\nindex {kind.index}, nullity {kind.nullity}"
    ax.set_title(f"visit {number}: {kind.name}{told}", fontsize=FONT)
    if spectrum is None:
        counted = "" if kind.negative is None else f"by Hessian–vector products {kind.negative.summary}"
        why = textwrap.fill((counted or kind.evidence).split(";")[0], 28)
        ax.text(0.5, 0.5, why, ha="center", va="center", fontsize=FONT, transform=ax.transAxes, color="0.3")
        ax.set(xticks=[], yticks=[])
        return ax
    ax.axhline(0, color="0.85", lw=0.6, zorder=0)
    ax.plot(np.arange(1, len(spectrum.eigenvalues) + 1), spectrum.eigenvalues, ".", color=colour(number), ms=3)
    if np.max(np.abs(spectrum.eigenvalues)) <= spectrum.zero_threshold:
        ax.set_ylim(-1, 1)
    label(ax, "eigenvalue number", "Hessian eigenvalue λ")
    return ax


def plot(
    trajectory: Trajectory,
    visits: Sequence[Visit] | None = None,
    *,
    levels: Sequence[float] = (),
    logarithmic: bool = False,
    panels: Mapping[str, Callable[[Any, Axes], object]] | None = None,
    title: str = "",
) -> Figure:
    """One page: loss on both axes, speed, and for each visit the units' incoming weights and the Hessian's spectrum.

    Args:
        trajectory: the flow.
        visits: its itinerary, computed if not given, which takes longer than all drawing.
        levels: plateau losses predicted by theory.
        logarithmic: whether time is on a logarithmic axis.
        panels: what else to draw of the model at each visit, by names of rows: functions (model, ax).
        title: above the loss.

    Returns:
        The figure, not shown and not saved.
    """
    visits = itinerary(trajectory) if visits is None else visits
    own, trajectory = trajectory, with_units_along(trajectory)
    model = trajectory.initial_model
    drawable = layer_of(model) is not None and incoming(model).shape[1] >= 2
    shown, more = list(enumerate(visits))[:COLUMNS], panels or {}
    rows = 2 + drawable + len(more)
    columns = max(len(shown), 2)
    figure = plt.figure(figsize=(max(8.0, 2.6 * columns), ROW * rows))
    left, middle, right = _row(figure, 0, 3)
    plot_loss(trajectory, visits, levels=levels, logarithmic=logarithmic, ax=left)
    plot_loss(trajectory, visits, levels=levels, logarithmic=logarithmic, decades=True, ax=middle)
    for names in filter(None, (left.get_legend(), middle.get_legend())):
        names.remove()  # it would hide much of such small panels: the kinds of the visits stand above their spectra
    if levels:
        right.set_title("dashed: loss by theory", fontsize=FONT, loc="right")
    plot_speed(trajectory, visits, logarithmic=logarithmic, ax=right)
    # Its lines end before the remark above the last panel.
    left.set_title(textwrap.fill(title, 80), fontsize=9, loc="left")
    if drawable:
        _unit_panels(trajectory, shown, _row(figure, 1, columns)[: len(shown)])
    for row, (name, draw) in enumerate(more.items(), start=1 + drawable):
        _further_panels(own, shown, name, draw, _row(figure, row, columns)[: len(shown)])
    spectra = _row(figure, rows - 1, columns)[: len(shown)]
    for ax, (number, visit) in zip(spectra, shown, strict=True):
        plot_spectrum(visit, number=number, ax=ax)
    for ax in spectra[1:]:
        ax.set_ylabel("")
    return figure


def _row(figure: Figure, number: int, panels: int) -> list[Axes]:
    """Equal panels side by side in row `number`, counted from above, of a page whose rows are ROW inches high."""
    width, height = figure.get_size_inches()
    across = (width - LEFT - RIGHT - (panels - 1) * BETWEEN) / panels
    bottom = height - (number + 1) * ROW + BELOW
    corners = [(LEFT + k * (across + BETWEEN), bottom) for k in range(panels)]
    size = (across / width, (ROW - ABOVE - BELOW) / height)
    return [figure.add_axes((x / width, y / height, *size)) for x, y in corners]


def _unit_panels(trajectory: Trajectory, shown: list[tuple[int, Visit]], panels: list[Axes]) -> None:
    """The incoming weights at each visit that is shown, all on one scale."""
    models = [trajectory.model_at_index(visit.passage.index) for _, visit in shown]
    limit = max((1.15 * float(np.max(np.abs(incoming(model)[:, :2]))) for model in models), default=1.0) or 1.0
    for ax, model, (number, visit) in zip(panels, models, shown, strict=True):
        plot_units(model, limit=limit, number=number, ax=ax)
        width = "" if visit.effective_width is None else f", width {visit.effective_width.width}"
        ax.set_title(f"visit {number}, t = {visit.time:.3g}{width}", fontsize=FONT)
    for ax in panels[1:]:
        ax.set_ylabel("")


def _further_panels(
    trajectory: Trajectory,
    shown: list[tuple[int, Visit]],
    name: str,
    draw: Callable[[Any, Axes], object],
    panels: list[Axes],
) -> None:
    """A row of panels of the user's own, one for each visit that is shown."""
    for ax, (number, visit) in zip(panels, shown, strict=True):
        draw(trajectory.model_at_index(visit.passage.index), ax)
        ax.set_title(f"visit {number}, t = {visit.time:.3g}", fontsize=FONT)
    panels[0].set_ylabel(name, fontsize=FONT)
