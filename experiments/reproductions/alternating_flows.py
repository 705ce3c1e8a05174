"""Alternating gradient flows: schedules of diagonal and connected linear networks, attention, modular addition."""

from typing import Any

import numpy as np

from ...analysis import theory
from ...analysis.figures.style import COLOURS
from ...flows import (
    in_context_population,
    linear_population,
    loss_curves,
    mean_squared_error,
    mirror_flow,
    simulate,
    statistics_loss,
)
from ...models import Dense, LinearAttention, TwoLayer, linear, quadratic
from ...models.units import unit_vectors
from ..data.cyclic_shifts import fourier_template, modular_addition
from .check import at_least, at_most, close
from .drawing import draw_levels
from .panel import Panel, Reproduction
from .plateau_times import crossings, padded, plateau_times, seed_key
from .staircase import RTOL, at_levels

SOURCE = "Kunin et al. (2025), “Alternating gradient flows”"


def _diagonal_panel() -> Panel:
    """β = u ⊙ v: coordinates jump when the gradient that they have accumulated reaches ln 1/α, as α → 0."""
    x = np.array([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 0.0, 2.0]])
    y = np.array([3.0, -1.5, 3.0])
    process = theory.jump_process(x, y)
    alphas, jumps = (1e-10, 1e-40), []
    times, beta, losses, levels = np.zeros(0), np.zeros(0), np.zeros(0), process.losses
    for alpha in alphas:
        times = np.linspace(0, 1.3 * process.times[-1], 2000)[1:] * np.log(1 / alpha)
        beta = mirror_flow(x, y, alpha, times)
        losses = np.sum((beta @ x.T - y) ** 2, axis=1) / 6
        middles = (levels[:-1] + levels[1:]) / 2
        jumps.append([float(crossings(times[None], losses[None], level)[0]) for level in middles])
    slopes = (np.array(jumps[1]) - jumps[0]) / np.log(alphas[0] / alphas[1])
    checks = [
        close(f"jump {k + 1} / ln 1/α", process.times[k], slopes[k], relative=0.005) for k in range(len(process.times))
    ]
    scaled = times / np.log(1 / alphas[1])
    held = [
        losses[np.argmin(np.abs(scaled - (a + b) / 2))] for a, b in zip(process.times, process.times[1:], strict=False)
    ]
    checks += [
        close(f"loss after jump {k + 1}", levels[k + 1], float(held[k]), absolute=1e-6) for k in range(len(held))
    ]

    def draw(ax: Any) -> None:
        draw_levels(ax, levels)
        ax.plot(scaled, losses, color=COLOURS[0], lw=1.3)
        ax.set(xlabel="t / ln(1/α), α = 1e-40", ylabel="loss")

    drawn = {"t": scaled, "loss": losses, "beta": beta}
    return Panel(title="diagonal linear", draw=draw, data=drawn, checks=tuple(checks))


def _linear_panel() -> Panel:
    """Connected linear networks on inputs that do not commute with the target: a recursion for their times."""
    random = np.random.default_rng(10)
    root = random.standard_normal((4, 4)) * np.array([1.0, 0.8, 0.6, 0.4])
    covariance, target = root.T @ root / 4 + 0.2 * np.eye(4), random.standard_normal((4, 4))
    data = linear_population(covariance, target, weight=0.5)
    # A sample with exactly these moments, on which the formulas are evaluated.
    values, vectors = np.linalg.eigh(covariance)
    x = 2 * (vectors * np.sqrt(values)) @ vectors.T
    schedule, levels = theory.linear_schedule(x, x @ target.T), np.array(theory.lemma6_levels(x, x @ target.T))
    scales, drops, runs = (1e-6, 1e-12), [], []
    horizon = 2.0 * schedule[-1] * np.log(1 / scales[1])
    for scale in scales:
        model = padded(Dense(linear, inputs=4, outputs=4), 10, scale, 10, key=seed_key(0))
        runs.append(loss_curves([model], statistics_loss, [data], np.linspace(0, horizon, 8000)[None]))
        drops.append(plateau_times(runs[-1], levels).middles[0])
    curves = runs[-1]
    slopes = (drops[1] - drops[0]) / np.log(scales[0] / scales[1])
    checks = [close(f"drop {k + 1} / ln 1/ε", schedule[k], slopes[k], relative=0.03) for k in range(len(schedule))]

    def draw(ax: Any) -> None:
        draw_levels(ax, levels)
        ax.plot(curves.ts[0] / np.log(1 / scales[1]), curves.losses[0], color=COLOURS[0], lw=1.3)
        for time in schedule:
            ax.axvline(time, color=COLOURS[1], lw=0.8, ls=":")
        ax.set(
            xlabel="t / ln(1/ε), ε = 1e-12", ylabel="loss", xscale="log", xlim=(0.3 * schedule[0], 1.3 * schedule[-1])
        )

    drawn = {"t": curves.ts[0], "loss": curves.losses[0]}
    return Panel(title="connected linear", draw=draw, data=drawn, checks=tuple(checks))


def _attention_panel() -> Panel:
    """Heads learn one eigendirection each; the utility Nλ²/(3√3) bounds the first jump from below."""
    eigenvalues, context, scale = 2.0 * np.array([12, 6, 4, 3]) / 25, 32, 1e-3
    data = in_context_population(np.diag(eigenvalues), context, weight=0.5)
    levels = np.array(theory.linear_attention_levels(tuple(eigenvalues), context)) / 2
    model = padded(LinearAttention(inputs=4), 5, scale, 5, key=seed_key(0))
    norms = np.linalg.norm(np.concatenate([np.reshape(p, (5, -1)) for p in model.parameters], axis=1), axis=1)
    bound = theory.activation_time(context * eigenvalues[0] ** 2 / np.sqrt(27), float(np.max(norms)), 3)
    ts = np.concatenate([[0.0], np.geomspace(1e-2 * bound, 300 * bound, 4000)])
    curves = loss_curves([model], statistics_loss, [data], ts[None])
    # The time within one per cent of a level, which no drop takes long to cross.
    near = [np.abs(curves.losses[0] / level - 1) < 0.01 for level in levels[:-1]]
    spent = [float(np.gradient(ts)[each].sum()) for each in near]
    first = float(crossings(curves.ts, curves.losses, (levels[0] + levels[1]) / 2)[0])
    checks = [at_least("first jump / lower bound of its time", 1.0, first / bound)]
    checks += [at_least(f"time near level {k}, over the bound", 0.1, spent[k] / bound) for k in range(1, 4)]
    checks.append(close("final loss", levels[-1], float(curves.losses[0, -1]), relative=0.01))

    def draw(ax: Any) -> None:
        draw_levels(ax, levels)
        ax.plot(ts[1:], curves.losses[0, 1:], color=COLOURS[0], lw=1.3)
        ax.axvline(bound, color=COLOURS[1], lw=0.8, ls=":")
        ax.set(xlabel="time t", ylabel="loss", xscale="log")

    return Panel(title="attention", draw=draw, data={"t": ts, "loss": curves.losses[0]}, checks=tuple(checks))


def _modular_panel() -> Panel:
    r"""Quadratic units learn frequencies in falling order of $|\hat x|$, from the levels 0.656, 0.156, 0.031 to 0.

    One unit cannot learn a whole frequency: those of a group switch on one by one, on plateaus of their own within its
    drop.

    Returns:
        The panel.
    """
    p, units, norm = 20, 18, 1e-2
    template = fourier_template(p, {1: 10.0, 3: 5.0, 5: 2.5})
    levels = np.array(theory.modular_addition_levels(template))
    model = TwoLayer(
        Dense(quadratic, inputs=2 * p, outputs=p), width=units, scale=norm / np.sqrt(3 * p), key=seed_key(0)
    )
    flow = simulate(model, mean_squared_error, modular_addition(template), t1=1e5, rtol=RTOL)
    # A tenth of the smallest step between levels.
    stairs = at_levels(flow, tuple(levels / levels[0]), near=0.1 * float(levels[2] / levels[0]))
    # The mean over p outputs slows the flow of the utility ⟨f · r⟩ by p/2.
    largest = float(np.max(np.linalg.norm(unit_vectors(model), axis=1)))
    bound = theory.activation_time(theory.modular_addition_utilities(template)[0], largest, 3) * p / 2
    losses, ts = flow.losses, flow.ts
    first = float(ts[np.argmax(losses < (levels[0] + levels[1]) / 2)])
    checks = [
        close(f"level {k} / initial loss", levels[k] / levels[0], float(stairs.fractions[k]), absolute=1e-3)
        for k in range(1, 4)
    ]
    checks.append(at_most("speed at a level / largest speed", 1e-2, float(np.max(stairs.slowest))))
    checks.append(at_least("first jump / lower bound of its time", 1.0, first / bound))

    def draw(ax: Any) -> None:
        stairs.draw(ax, levels / levels[0])
        ax.axvline(bound, color=COLOURS[1], lw=0.8, ls=":")
        ax.set(xscale="log", xlim=(bound / 10, ts[-1]))

    return Panel(title="modular addition, p = 20", draw=draw, data=stairs.data, checks=tuple(checks))


def _make(seeds: int, quick: bool) -> tuple[Panel, ...]:
    panels = (_diagonal_panel(), _linear_panel(), _attention_panel())
    return panels if quick else (*panels, _modular_panel())


REPRODUCTIONS = (
    Reproduction(
        name="AGF", title="alternating gradient flows: schedules of four architectures", source=SOURCE, make=_make
    ),
)
