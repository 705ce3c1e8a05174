"""Figure 1B–G: six two-layer networks, their plateaus and their weights."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...analysis import effective_width, itinerary, plot_units, theory
from ...analysis.figures.style import COLOURS
from ...analysis.visits.itinerary import Itinerary
from ...flows import Trajectory, linear_population, quadratic_population, simulate, statistics_loss
from ...flows.losses.statistics import SufficientStatistics
from ...models import incoming, outgoing
from ..runs.run import Run, run
from ..setups.figure_1 import (
    ATTENTION_CONTEXT,
    ATTENTION_EIGENVALUES,
    CONVOLUTION_TARGET,
    CONVOLUTION_VARIANCES,
    LINEAR_COVARIANCE,
    attention_statistics,
    linear_statistics,
)
from ..setups.registry import experiment
from .check import Check, at_least, at_most, close, equal, farthest
from .drawing import draw_levels
from .panel import Panel, Reproduction

SOURCE = "Zhang, Saxe & Latham (2025), Figure 1"
# Units that enter at third order go one by one only as ε → 0, and their plateaus last as 1/ε: so long, times ε.
LONG = 0.5
TOGETHER = (
    "At the published ε = 0.005 some seeds grow two units at once, as the runner-up is O(ε) with a factor that grows "
    "with the width; "
)


def _convolution_statistics() -> SufficientStatistics:
    return linear_population(np.diag(CONVOLUTION_VARIANCES), CONVOLUTION_TARGET[None], weight=1.0)


def _quadratic_statistics() -> SufficientStatistics:
    return quadratic_population(np.eye(2), np.eye(2) / np.sqrt(8))


def _no_checks(model: Any) -> tuple[Check, ...]:
    return ()


class Plan(eqx.Module):
    """What is asked of one panel.

    Attributes:
        name: name of the experiment.
        levels: plateau losses over the initial loss.
        population: sufficient statistics of infinitely many samples; `None` for the points of the ReLU networks.
        exact_on_sample: whether theory gives the sample's own levels.
        small_scale: the ε at which units go one by one, where they do not at the published one; `None` where they do.
        note: the reason for this.
        geometry: checks of the weights at the end.
    """

    name: str = eqx.field(static=True)
    levels: tuple[float, ...] = eqx.field(static=True)
    population: Callable[[], SufficientStatistics] | None = eqx.field(static=True, default=None)
    exact_on_sample: bool = eqx.field(static=True, default=True)
    small_scale: float | None = eqx.field(static=True, default=None)
    note: str = eqx.field(static=True, default="")
    geometry: Callable[[Any], tuple[Check, ...]] = eqx.field(static=True, default=_no_checks)


def _widths(visits: Itinerary) -> tuple[int, ...]:
    return tuple(visit.effective_width.width for visit in visits if visit.effective_width is not None)


def _fractions(flow: Trajectory, visits: Itinerary) -> Float[np.ndarray, " V"]:
    return np.array([visit.critical_point.loss for visit in visits]) / flow.losses[0]


def _make(plan: Plan, seeds: int, quick: bool) -> tuple[Panel, ...]:
    runs = [run(plan.name, seed) for seed in range(seeds)]
    panels = [_loss_panel(plan, runs)]
    if plan.population is not None:
        panels.append(_population_panel(plan, 1 if quick else seeds))
    shown = next((one for one in runs if len(one.itinerary) == 3), runs[0])
    for number in range(1, len(shown.itinerary)):
        panels.append(_weights_panel(plan, shown, number))
    return tuple(panels)


def _loss_panel(plan: Plan, runs: list[Run]) -> Panel:
    checks = []
    stairs = [one for one in runs if _widths(one.itinerary) == (0, 1, 2)]
    if plan.small_scale:
        checks.append(at_least("seeds with effective widths 0, 1, 2", 1, len(stairs)))
        for k, level in enumerate(plan.levels[1:], 1):
            found = [_fractions(one.trajectory, one.itinerary)[k] for one in stairs] or [np.nan]
            checks.append(farthest(f"sample's level {k} / initial loss", level, found, absolute=0.04))
    else:
        widths = [_widths(one.itinerary) for one in runs]
        checks.append(equal("effective widths, every seed", [(0, 1, 2)] * len(runs), widths))
        found = [_fractions(one.trajectory, one.itinerary)[1] for one in stairs] or [np.nan]
        if plan.exact_on_sample:
            # All seeds' theory differs: the farthest is taken of the ratios.
            own = [one.levels[1] / one.levels[0] for one in stairs] or [np.nan]
            ratios = np.array(found) / np.array(own)
            checks.append(farthest("plateau / the sample's own prediction", 1.0, ratios, absolute=1e-9))
        last = max(float(one.trajectory.losses[-1] / one.trajectory.losses[0]) for one in runs)
        checks.append(at_most("final loss / initial loss", 1e-8, last))
    drawn = {f"t-{k}": one.trajectory.ts for k, one in enumerate(runs)}
    drawn |= {f"loss-{k}": one.trajectory.losses / one.trajectory.losses[0] for k, one in enumerate(runs)}
    return Panel(
        title="loss",
        draw=lambda ax: _draw_losses(ax, plan, drawn),
        data=drawn,
        checks=tuple(checks),
        note=plan.note,
    )


def _draw_losses(ax: Any, plan: Plan, drawn: dict[str, np.ndarray]) -> None:
    """Losses over the initial one, to half as long again as the slowest needs."""
    ends = []
    for k in range(len(drawn) // 2):
        ts, losses = drawn[f"t-{k}"], drawn[f"loss-{k}"]
        ends.append(ts[np.argmax(losses <= losses[-1] + 1e-3)])
        ax.plot(ts, losses, color=COLOURS[k % len(COLOURS)], lw=1.3, label=f"seed {k}")
    ax.set_xlim(0, 1.5 * max(ends))
    # Times of five digits stand clear of one another.
    ax.locator_params(axis="x", nbins=5)
    draw_levels(ax, plan.levels)
    ax.set(xlabel="time t", ylabel="loss / initial loss")
    ax.legend(fontsize=7)


def _population_panel(plan: Plan, seeds: int) -> Panel:
    """The flow on infinitely many samples; where units go one by one only for small ε, at small ε."""
    assert plan.population is not None
    data, flows = plan.population(), []
    scale = plan.small_scale
    t1 = None if scale is None else LONG / scale
    for seed in range(seeds):
        setup = experiment(plan.name).setup(seed, scale=scale, t1=t1)
        flows.append(simulate(setup.model, statistics_loss, data, t1=setup.t1))
    visits = [itinerary(flow) for flow in flows]
    checks = [equal("effective widths, every seed", [(0, 1, 2)] * seeds, [_widths(each) for each in visits])]
    for k, level in enumerate(plan.levels[1:], 1):
        found = [
            _fractions(flow, each)[k] if len(each) > k else np.nan for flow, each in zip(flows, visits, strict=True)
        ]
        checks.append(farthest(f"level {k} / initial loss, refined", level, found, absolute=1e-6))
    drawn = {f"t-{k}": flow.ts for k, flow in enumerate(flows)}
    drawn |= {f"loss-{k}": flow.losses / flow.losses[0] for k, flow in enumerate(flows)}

    title = "population loss" + (f", ε = {scale:g}" if scale else "")
    return Panel(title=title, draw=lambda ax: _draw_losses(ax, plan, drawn), data=drawn, checks=tuple(checks))


def _weights_panel(plan: Plan, shown: Run, number: int) -> Panel:
    visit = shown.itinerary[number]
    model = shown.trajectory.model_at_index(visit.passage.index)
    last = number == len(shown.itinerary) - 1
    where = "end" if last else "plateau"
    checks = plan.geometry(model) if last else ()
    data = {"incoming": np.asarray(incoming(model)), "outgoing": np.asarray(outgoing(model))}
    return Panel(
        title=f"incoming weights at the {where}",
        draw=lambda ax: plot_units(model, number=number, ax=ax),
        data=data,
        checks=checks,
    )


def _rays(model: Any, expected: Float[np.ndarray, "2 2"]) -> tuple[Check, ...]:
    """The directions of the two largest rays of incoming weights, in either order."""
    groups = effective_width(model).groups
    assert groups is not None
    u = np.asarray(incoming(model))
    sums = [u[groups == k][:, :2].sum(axis=0) for k in range(2)]
    directions = np.array([each / np.linalg.norm(each) for each in sums])
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    overlaps = directions @ expected.T
    worst = max(min(overlaps[0, 0], overlaps[1, 1]), min(overlaps[0, 1], overlaps[1, 0]))
    return (close("cosine of the rays with theirs", 1.0, float(worst), absolute=1e-4),)


def _norms(model: Any, size: float, parts: int, tolerance: float) -> tuple[Check, ...]:
    """The norm of the first incoming array of the largest units."""
    u = np.asarray(incoming(model))
    norms = np.sort(np.linalg.norm(u[:, : u.shape[1] // parts], axis=1))[::-1][:2]
    return (farthest("norms of the two largest units' first weights", size, norms.tolist(), relative=tolerance),)


def _balanced_rank_two(model: Any) -> tuple[Check, ...]:
    r"""At the end $\sum u_i u_i^\top$ is the square root of $W^\top W$ = Σ_xx⁻¹, by balancedness."""
    u = np.asarray(incoming(model))
    expected = np.linalg.eigvalsh(LINEAR_COVARIANCE) ** -0.5
    found = np.linalg.eigvalsh(u.T @ u)[::-1]
    return tuple(close(f"eigenvalue {k + 1} of Σ u uᵀ", expected[k], found[k], relative=0.05) for k in range(2))


# Sampling error of 8192 samples: 4 per cent of fourth moments, a third of that in weights, which enter cubed.
PLANS = {
    "1B": Plan(name="linear", levels=(1.0, 0.5, 0.0), population=linear_statistics, geometry=_balanced_rank_two),
    "1C": Plan(name="linear-conv", levels=(1.0, 0.4, 0.0), population=_convolution_statistics),
    "1D": Plan(
        name="relu",
        levels=(1.0, 0.5, 0.0),
        geometry=lambda model: _rays(model, np.array([[-1.0, 2.0], [2.0, 1.0]])),
    ),
    "1E": Plan(name="relu-conv", levels=(1.0, 0.4, 0.0), geometry=lambda model: _rays(model, np.eye(2))),
    "1F": Plan(
        name="attention",
        levels=theory.linear_attention_levels(ATTENTION_EIGENVALUES, ATTENTION_CONTEXT),
        population=attention_statistics,
        small_scale=5e-4,
        note=TOGETHER + "at a tenth of it all go one by one.",
        # vkq = λ⁻¹ / (N(1 + (1 + tr Λ/λ)/N)) for balanced v = ‖k‖ = ‖q‖ and β not divided by N.
        geometry=lambda model: _norms(model, (2 / (31 * (1 + 3 / 31))) ** (1 / 3), 2, 0.03),
    ),
    "1G": Plan(
        name="quadratic",
        levels=theory.isotropic_quadratic_levels(2),
        population=_quadratic_statistics,
        small_scale=5e-6,
        note=TOGETHER
        + "at a tenth of it seed 1 still makes the second drop with two units, of which the smaller has 35 % "
        "of the map, at a hundredth 5 %, at a thousandth 0.02 %.",
        # v‖u‖² = 8^(−1/2) per unit and v² = ‖u‖²/2.
        geometry=lambda model: _norms(model, 0.5 ** (1 / 3), 1, 0.03),
    ),
}
REPRODUCTIONS = tuple(
    Reproduction(
        name=name,
        title=experiment(plan.name).title,
        source=SOURCE + name[1],
        make=partial(_make, plan),
        seeds=3,
        quick_seeds=2 if plan.small_scale else 1,
    )
    for name, plan in PLANS.items()
)
