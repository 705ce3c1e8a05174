"""Figure 2: what decides how many plateaus there are and how long they last, in linear networks and in attention."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ...analysis.figures.style import COLOURS
from ...analysis.statistics.laws import fit_law
from ...flows import LossCurves, linear_population, loss_curves, statistics_loss
from ...models import TwoLayer, low_rank_plus_noise
from .check import at_least, at_most, close
from .drawing import curves_panel, lengths_panel
from .figure_2_curves import (
    ATTENTION_SCALE,
    LINEAR,
    LINEAR_ROOM,
    LINEAR_SCALE,
    POINTS,
    attention_curves,
    attention_levels,
    linear_curves,
    linear_levels,
    linear_middles,
    spectrum,
)
from .panel import Panel, Reproduction
from .plateau_times import Lengths, count_plateaus, plateau_times, seed_key

SOURCE = "Zhang, Saxe & Latham (2025), Figure 2"
# Attention's curves differ from seed to seed: more of them would hide each other.
SHOWN = 8


def _width_panels(seeds: int, quick: bool) -> tuple[Panel, ...]:
    """A: at matched Hε² the width does not matter to linear networks; attention's plateaus shrink with it."""
    widths = [10, 30, 100]
    scales = [LINEAR_SCALE * np.sqrt(LINEAR_ROOM / width) for width in widths]
    curves = {f"H = {h}": linear_curves(h, 1, scale, seeds, 130.0) for h, scale in zip(widths, scales, strict=True)}
    gaps = [plateau_times(each, linear_levels(1)).gap for each in curves.values()]
    predicted = [linear_middles(h, 1, scale, seeds) for h, scale in zip(widths, scales, strict=True)]
    predicted = [float(np.mean(each[:, -1] - each[:, 0])) for each in predicted]
    means = [float(np.mean(each.values)) for each in gaps]
    checks = [
        close(f"first to last drop, H = {h}", theory, mean, relative=0.03)
        for h, theory, mean in zip(widths, predicted, means, strict=True)
    ]
    checks.append(at_most("largest change with H at equal Hε²", 0.05, max(means) / min(means) - 1))
    heads = [5, 10, 25, 50]
    attention = {f"H = {h}": attention_curves(h, 1, ATTENTION_SCALE, seeds, 6000.0) for h in heads}
    spread = [plateau_times(each, attention_levels(1)).gap for each in attention.values()]
    medians = [each.median.value for each in spread]
    shorter = at_most("median with 50 heads / with 5 heads, first to last drop", 0.7, medians[-1] / medians[0])
    falling = at_most("largest median / the one of fewer heads, of neighbours", 1.0, _largest_ratio(medians))
    return (
        curves_panel("linear, equal Hε²", curves),
        lengths_panel("linear: plateaus", "width H", widths, gaps, theory=predicted, log="x", checks=checks),
        curves_panel("attention, equal ε", attention, shown=SHOWN),
        lengths_panel("attention: plateaus", "width H", heads, spread, log="xy", checks=(shorter, falling)),
    )


def _largest_ratio(values: Sequence[float]) -> float:
    return max(after / before for before, after in zip(values, values[1:], strict=False))


def _spectrum_panels(seeds: int, quick: bool) -> tuple[Panel, ...]:
    """B: equal singular values leave linear networks no intermediate plateau, but attention keeps them."""
    powers = [0.0, 0.5, 1.0]
    curves = {f"κ = {k:g}": linear_curves(LINEAR_ROOM, k, LINEAR_SCALE, seeds, 130.0) for k in powers}
    gaps = [plateau_times(each, linear_levels(k)).gap for k, each in zip(powers, curves.values(), strict=True)]
    times = [linear_middles(LINEAR_ROOM, k, LINEAR_SCALE, seeds) for k in powers]
    predicted = [float(np.mean(each[:, -1] - each[:, 0])) for each in times]
    counts = [float(np.median(count_plateaus(each))) for each in curves.values()]
    checks = [
        close("median number of intermediate plateaus, κ = 1", 2, counts[2], absolute=0),
        close("median number of intermediate plateaus, κ = 0", 0, counts[0], absolute=0),
        close("first to last drop, κ = 1", predicted[2], float(np.mean(gaps[2].values)), relative=0.03),
        close("first to last drop, κ = 0.5", predicted[1], float(np.mean(gaps[1].values)), relative=0.03),
    ]
    attention = {f"κ = {k:g}": attention_curves(25, k, ATTENTION_SCALE, seeds, 6000.0) for k in powers}
    spread = [plateau_times(each, attention_levels(k)).gap for k, each in zip(powers, attention.values(), strict=True)]
    heads = [float(np.median(count_plateaus(each))) for each in attention.values()]
    kept = (
        at_least("median number of intermediate plateaus, κ = 1", 2, heads[2]),
        at_least("median number of intermediate plateaus, κ = 0", 1, heads[0]),
        at_least("median first to last drop / median first drop, κ = 0", 0.05, _relative_gap(attention["κ = 0"], 0.0)),
    )
    return (
        curves_panel("linear", curves),
        lengths_panel("linear: plateaus", "κ", powers, gaps, theory=predicted, checks=checks),
        curves_panel("attention", attention, shown=SHOWN),
        lengths_panel("attention: plateaus", "κ", powers, spread, checks=kept),
    )


def _relative_gap(curves: LossCurves, power: float | int) -> float:
    times = plateau_times(curves, attention_levels(power))
    return times.gap.median.value / times.drop(0).median.value


def _low_rank_panels(seeds: int, quick: bool) -> tuple[Panel, ...]:
    """C: from large weights of low rank there is no first plateau."""
    data, ranks = linear_population(np.eye(3), np.diag(spectrum(1)), weight=0.5), [0, 1, 2, 3]
    size, noise, horizon = 0.1, 1e-6, 130.0
    curves = {}
    for rank in ranks:
        models = [
            low_rank_plus_noise(
                TwoLayer(LINEAR, width=LINEAR_ROOM, scale=1.0, key=seed_key(k)),
                rank=rank,
                size=size,
                scale=noise,
                key=seed_key(k),
            )
            for k in range(seeds)
        ]
        # Fine times first: the fast drop takes a hundredth of the rest.
        ts = np.concatenate([[0.0], np.geomspace(1e-2, horizon, POINTS - 1)])
        curves[f"rank {rank}"] = loss_curves(models, statistics_loss, [data] * seeds, np.tile(ts, (seeds, 1)))
    levels = linear_levels(1)
    # The large weights may start above the loss of zero weights; the first plateau is at that loss.
    ends = [_last_above(each, 0.9 * levels[0]) for each in curves.values()]
    ratio = [float(np.median(each) / np.median(ends[0])) for each in ends]
    counts = [float(np.median(count_plateaus(each))) for each in curves.values()]
    done = _last_above(curves["rank 3"], 0.01 * levels[0])
    checks = [at_most(f"end of the first plateau, rank {r} / rank 0", 0.1, ratio[r]) for r in ranks[1:]]
    checks.append(
        at_most("rank 3: time to 1 % of the loss / rank 0's first plateau", 1.0, float(np.median(done / ends[0])))
    )
    checks.append(close("median number of intermediate plateaus, rank 0", 2, counts[0], absolute=0))

    def draw_ends(ax: Any) -> None:
        ax.bar(ranks, [np.median(each) for each in ends], color=COLOURS[: len(ranks)])
        ax.set(xlabel="rank of the initial weights", ylabel="end of the first plateau", yscale="log", xticks=ranks)

    ended = Panel(title="end of the first plateau", draw=draw_ends, data={"end": np.array(ends)}, checks=tuple(checks))
    return curves_panel("linear, large weights of low rank", curves, initial=float(levels[0])), ended


def _last_above(curves: LossCurves, level: float) -> Float[np.ndarray, " B"]:
    """The last time at which each loss is above a level."""
    above = curves.losses > level
    return curves.ts[np.arange(len(above)), above.shape[1] - 1 - np.argmax(above[:, ::-1], axis=1)]


def _scale_panels(seeds: int, quick: bool) -> tuple[Panel, ...]:
    """D: plateaus grow as ln 1/ε in linear networks and as 1/ε in attention."""
    scales = [1e-3, 1e-5, 1e-7, 1e-9]
    curves = {f"ε = {e:g}": linear_curves(LINEAR_ROOM, 1, e, seeds, 160.0) for e in scales}
    times = [plateau_times(each, linear_levels(1)) for each in curves.values()]
    logs = np.log(1 / np.array(scales))
    rates = np.concatenate([[0.0], 1 / spectrum(1)])
    # Only where the drops are apart: at ε = 1e-3 they overlap, at 1e-5 the last two still do by some per cent.
    slopes = [np.polyfit(logs[-2:], [np.mean(each.middles[:, k]) for each in times[-2:]], 1)[0] for k in range(3)]
    dwells = [np.polyfit(logs[-2:], [np.mean(each.dwells[:, k]) for each in times[-2:]], 1)[0] for k in range(3)]
    checks = [close(f"slope of drop {k + 1} against ln 1/ε", rates[k + 1], slopes[k], relative=0.03) for k in range(3)]
    checks += [
        close(f"slope of dwell {k} against ln 1/ε", rates[k + 1] - rates[k], dwells[k], relative=0.03) for k in range(3)
    ]
    small = [4e-3, 2e-3, 1e-3, 5e-4]
    attention = {f"ε = {e:g}": attention_curves(25, 1, e, seeds, 6.0 / e) for e in small}
    held = [plateau_times(each, attention_levels(1)) for each in attention.values()]
    drops = [_power(small, [each.drop(k) for each in held]) for k in range(3)]
    powers = [close(f"exponent of drop {k + 1} against 1/ε", 1.0, drops[k], relative=0.03) for k in range(3)]
    powers += [
        close(
            "exponent of the first dwell against 1/ε", 1.0, _power(small, [e.first_dwell for e in held]), relative=0.03
        ),
        close("exponent of first to last drop against 1/ε", 1.0, _power(small, [e.gap for e in held]), relative=0.03),
    ]
    gaps, spread = [each.gap for each in times], [each.gap for each in held]
    line = [float(np.mean(gaps[-1].values) + (rates[3] - rates[1]) * (x - logs[-1])) for x in logs]
    power = [spread[-1].median.value * small[-1] / e for e in small]
    return (
        curves_panel("linear", curves),
        lengths_panel("linear: plateaus", "ε", scales, gaps, theory=line, log="x", checks=checks),
        curves_panel("attention", attention, shown=SHOWN),
        lengths_panel("attention: plateaus", "ε", small, spread, theory=power, log="xy", checks=powers),
    )


def _power(scales: Sequence[float], times: list[Lengths]) -> float:
    """The exponent of 1/ε over the two smallest ε, with times beyond the horizon as lower bounds."""
    last = times[-2:]
    values, censored = (np.array([getattr(each, name) for each in last]) for name in ("values", "censored"))
    return fit_law(1 / np.array(scales[-2:]), values, censored).slope


def _reproduction(letter: str, title: str, make: Callable[[int, bool], tuple[Panel, ...]]) -> Reproduction:
    return Reproduction(name=f"2{letter}", title=title, source=SOURCE + letter, make=make, seeds=20, quick_seeds=8)


REPRODUCTIONS = (
    _reproduction("A", "width shortens plateaus in attention, not in linear networks", _width_panels),
    _reproduction("B", "equal singular values remove intermediate plateaus in linear networks only", _spectrum_panels),
    _reproduction("C", "large weights of low rank have no first plateau", _low_rank_panels),
    _reproduction("D", "plateaus last as ln 1/ε in linear networks, as 1/ε in attention", _scale_panels),
)
