"""Plateaus of linear attention in context: separate key and query, merged, and of rank R."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

from ...analysis import itinerary, theory
from ...analysis.figures.style import COLOURS
from ...flows import LossCurves, in_context_population, loss_curves, simulate, statistics_loss
from ...models import Dense, LinearAttention, TwoLayer, incoming, linear, outgoing
from .check import at_most, close, equal, farthest
from .drawing import draw_levels
from .panel import Panel, Reproduction
from .plateau_times import padded, seed_key

SOURCE = "Zhang, Singh, Latham & Saxe (2025), “Training dynamics of in-context learning in linear attention”"
CONTEXT = 31
EIGENVALUES = (0.4, 0.3, 0.2, 0.1)


Curve = tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]


def _plot(ax: Any, flows: dict[str, Curve], levels: Iterable[float]) -> None:
    draw_levels(ax, levels)
    for k, (name, (ts, losses)) in enumerate(flows.items()):
        ax.plot(ts, losses, color=COLOURS[k % len(COLOURS)], lw=1.2, label=name)
    ax.set(xlabel="time t", ylabel="loss / initial loss")
    ax.legend(fontsize=7)


def _separate_panel() -> Panel:
    """Rank-one heads learn one eigendirection of Λ after the other, the largest first."""
    data = in_context_population(np.diag(EIGENVALUES), CONTEXT)
    model = TwoLayer(LinearAttention(inputs=4), width=8, scale=1e-3, key=seed_key(0))
    flow = simulate(model, statistics_loss, data, t1=6000.0)
    visits = itinerary(flow)
    levels = np.array(theory.linear_attention_levels(EIGENVALUES, CONTEXT))
    found = [visit.critical_point.loss for visit in visits]
    nearest = [float(level / levels[0]) for level in levels]
    checks = [
        close(
            f"L(M_{m}) / L(0), refined",
            nearest[m],
            float(found[m] / flow.losses[0]) if m < len(found) else np.nan,
            absolute=1e-6,
        )
        for m in range(1, 5)
    ]
    widths = tuple(visit.effective_width.width for visit in visits if visit.effective_width is not None)
    checks.insert(0, equal("effective widths", (0, 1, 2, 3, 4), widths))
    drawn = {"t": flow.ts, "loss": flow.losses / flow.losses[0], "levels": levels}
    curve = {"separate, rank one": (drawn["t"], drawn["loss"])}
    title = "separate key and query, D = 4, N = 31"
    return Panel(title=title, draw=lambda ax: _plot(ax, curve, nearest), data=drawn, checks=tuple(checks))


def _merged_panel(inputs: int = 4, context: int = 10) -> Panel:
    r"""Merged heads are a two-layer linear network with one output: one plateau, one drop, a sigmoid for Λ = I.

    $u(t) = \frac{s/b}{1 + (s / b u_0 - 1) e^{-2st}}$, s = √D, b = 1 + (1 + D)/N, L = ½(D − 2su + bu²), and
    $u_0 = \sum_i c_i^2$ with $c_i = (v_i + U_i \cdot I / \sqrt D) / 2$ from the initial weights.

    Returns:
        The panel.
    """
    data = in_context_population(np.eye(inputs), context, normalised=True, weight=0.5)
    model = TwoLayer(Dense(linear, inputs=inputs**2), width=8, scale=1e-6, key=seed_key(0))
    s, b = np.sqrt(inputs), 1 + (1 + inputs) / context
    direction = np.eye(inputs).ravel() / s
    start = float(np.sum((np.asarray(outgoing(model))[:, 0] + np.asarray(incoming(model)) @ direction) ** 2) / 4)
    times = np.linspace(0.1, 15.0, 150)
    flow = simulate(model, statistics_loss, data, t1=15.0, save_times=times)
    u = theory.merged_attention_strength(times, inputs, context, start)
    expected = (inputs - 2 * s * u + b * u**2) / 2
    losses = flow.losses[np.searchsorted(flow.ts, times)]
    visits = itinerary(flow)
    error = float(np.max(np.abs(losses - expected)) / flow.losses[0])
    final = theory.linear_attention_levels((1.0,) * inputs, context)[-1] / inputs
    checks = (
        close("number of visits: start and minimum", 2, len(visits), absolute=0),
        at_most("largest |L(t) − sigmoid| / L(0)", 1e-4, error),
        close("final loss / L(0)", final, float(flow.losses[-1] / flow.losses[0]), absolute=1e-8),
    )
    drawn = {"t": times, "loss": losses / flow.losses[0], "sigmoid": expected / flow.losses[0]}

    def draw(ax: Any) -> None:
        _plot(ax, {"merged": (drawn["t"], drawn["loss"])}, (1.0, final))
        ax.plot(drawn["t"], drawn["sigmoid"], "--", color="k", lw=1, label="sigmoid")
        ax.legend(fontsize=7)

    return Panel(title="merged key and query, Λ = I", draw=draw, data=drawn, checks=checks)


def _rank_panel(seeds: int, quick: bool) -> Panel:
    """One value reads R pairs of key and query: conspicuous plateaus only where R divides m.

    The pairs of a head that has begun to grow follow exponentially, each from its small start, so that short plateaus
    remain in between.

    Returns:
        The panel.
    """
    inputs, ranks = 4, (1, 2, 4)
    data = in_context_population(np.diag(EIGENVALUES), CONTEXT, normalised=True)
    levels = np.array(theory.linear_attention_levels(EIGENVALUES, CONTEXT))
    levels, curves = levels / levels[0], {}
    scale, horizon = 5e-3, 5e4
    for rank in ranks:
        models = [padded(LinearAttention(inputs=inputs, rank=rank), 9, scale, 9, key=seed_key(k)) for k in range(seeds)]
        ts = np.concatenate([[0.0], np.geomspace(1.0, horizon, 3000)])
        curves[rank] = loss_curves(
            models, statistics_loss, [data] * seeds, np.tile(ts, (seeds, 1)), until=1.0001 * levels[-1]
        )
    spent = {rank: _spent(curves[rank], levels) for rank in ranks}
    odd = float(np.median(spent[2][:, [0, 2]].mean(axis=1) / spent[2][:, 1]))
    rest = float(np.median(spent[4].sum(axis=1)) / np.median(spent[1].sum(axis=1)))
    checks = [
        at_most("R = 2: time at odd levels / at the even one, median", 0.5, odd),
        at_most("R = 4: time at intermediate levels / that of R = 1, medians", 0.5, rest),
    ]
    last = np.concatenate([each.losses[:, -1] / each.losses[:, 0] for each in curves.values()])
    checks.append(farthest("final loss / L(0)", float(levels[-1]), last, absolute=0.02))
    shown = {f"R = {rank}": (each.ts[0], each.losses[0] / each.losses[0, 0]) for rank, each in curves.items()}
    drawn = {f"R={rank}/{key}": getattr(each, key)[:, ::4] for rank, each in curves.items() for key in ("ts", "losses")}

    def draw(ax: Any) -> None:
        _plot(ax, shown, levels)
        ax.set(xscale="log", xlim=(10, horizon))

    return Panel(title="rank R, D = 4, 9 heads", draw=draw, data=drawn, checks=tuple(checks))


def _spent(curves: LossCurves, levels: Float[np.ndarray, " L"]) -> Float[np.ndarray, "B M"]:
    """The time that each flow spends within a fifth of a step of each intermediate level.

    On the logarithm of time, where escapes of different rates compare.

    Returns:
        One row per flow, one column per intermediate level.
    """
    steps = np.minimum(levels[:-2] - levels[1:-1], levels[1:-1] - levels[2:]) / 5
    rows = []
    for ts, losses in zip(curves.ts, curves.losses / curves.losses[:, :1], strict=True):
        times = np.gradient(np.log(np.maximum(ts, ts[1])))
        rows.append([times[np.abs(losses - x) < d].sum() for x, d in zip(levels[1:-1], steps, strict=True)])
    return np.array(rows)


def _make(seeds: int, quick: bool) -> tuple[Panel, ...]:
    return _separate_panel(), _merged_panel(), _rank_panel(seeds, quick)


REPRODUCTIONS = (
    Reproduction(
        name="attention",
        title="plateaus of linear attention in context",
        source=SOURCE,
        make=_make,
        seeds=8,
        quick_seeds=4,
    ),
)
