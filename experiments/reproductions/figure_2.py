"""Figure 2: what decides how many plateaus there are and how long they last, in linear networks and in attention."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from ...analysis.figures.style import COLOURS
from ...flows import in_context_population, linear_population
from ...models import Dense, LinearAttention, TwoLayer, incoming, linear, low_rank_plus_noise, outgoing
from .ensemble import Curves, PlateauTimes, loss_curves, padded, plateau_times, seed_key
from .panel import Panel, Reproduction, at_least, at_most, close

SOURCE = "Zhang, Saxe & Latham (2025), Figure 2"
LINEAR, ATTENTION = Dense(linear, inputs=3, outputs=3), LinearAttention(inputs=3)
# Units of every network here, most of them zero where a figure asks for fewer.
LINEAR_ROOM, ATTENTION_ROOM = 100, 50
LINEAR_SCALE, ATTENTION_SCALE = 1e-6, 1e-3
POINTS = 2000
# ln(σ / (1 − σ)) where (1 − σ)² = ½: half of a mode's loss is gone.
HALF_LOSS = np.log(np.sqrt(2) - 1)


def spectrum(power: float) -> np.ndarray:
    """s_n ∝ n^(−κ), n = 1, 2, 3, that sum to one."""
    values = np.arange(1, 4.0) ** -power
    return values / values.sum()


@cache
def linear_curves(width: int, power: float, scale: float, seeds: int, horizon: float) -> Curves:
    """Linear networks on white inputs with singular values s_n, losses over the initial one."""
    data = linear_population(np.eye(3), np.diag(spectrum(power)), weight=0.5)
    models = [padded(LINEAR, width, scale, LINEAR_ROOM, key=seed_key(seed)) for seed in range(seeds)]
    return loss_curves(models, [data] * seeds, _times(seeds, horizon))


def linear_levels(power: float) -> np.ndarray:
    """½ Σ_{k > r} s_k², r = 0, …, 3."""
    squares = spectrum(power) ** 2 / 2
    return np.array([squares[r:].sum() for r in range(4)])


def linear_middles(width: int, power: float, scale: float, seeds: int) -> np.ndarray:
    r"""Predicted times at which half of each mode's loss is gone, for the very initial weights.

    From small weights every unit grows as $\theta_i = c_i e^{st} [q; r]$, $c_i = (q \cdot v_i + r \cdot u_i) / 2$, and
    the mode as a sigmoid from $a(0) = \sum c_i^2$: $t = [\ln(s/a(0) - 1) + \ln(\sqrt 2 - 1)] / 2s$.
    """
    modes = []
    for seed in range(seeds):
        model = padded(LINEAR, width, scale, LINEAR_ROOM, key=seed_key(seed))
        modes.append(np.sum((np.asarray(incoming(model)) + np.asarray(outgoing(model))) ** 2, axis=0) / 4)
    s = spectrum(power)
    return (np.log(s / np.array(modes) - 1) + HALF_LOSS) / (2 * s)


@cache
def attention_curves(width: int, power: float, scale: float, seeds: int, horizon: float) -> Curves:
    """Linear attention with infinite context on inputs of covariance Λ ∝ diag(√s_n), largest eigenvalue one."""
    data = in_context_population(np.diag(attention_eigenvalues(power)), np.inf, normalised=True, weight=0.5)
    models = [padded(ATTENTION, width, scale, ATTENTION_ROOM, key=seed_key(seed)) for seed in range(seeds)]
    return loss_curves(models, [data] * seeds, _times(seeds, horizon))


def attention_eigenvalues(power: float) -> np.ndarray:
    """λ_n with λ_n²/2, the positive eigenvalues of Σ_yZ, in the ratios of s_n."""
    values = np.sqrt(spectrum(power))
    return values / values[0]


def attention_levels(power: float) -> np.ndarray:
    """½ Σ_{d > m} λ_d, m = 0, …, 3, as the context becomes infinite."""
    values = attention_eigenvalues(power) / 2
    return np.array([values[m:].sum() for m in range(4)])


def _times(seeds: int, horizon: float) -> np.ndarray:
    return np.tile(np.linspace(0, horizon, POINTS), (seeds, 1))


def _gap(times: PlateauTimes) -> np.ndarray:
    """The time between the first and the last drop: all intermediate plateaus together."""
    return times.middles[:, -1] - times.middles[:, 0]


def _standard_error(values: np.ndarray) -> float:
    return float(np.nanstd(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _curves_panel(
    title: str, curves: dict[str, Curves], initial: float | None = None, checks=(), note: str = ""
) -> Panel:
    """Loss curves over the initial loss, by default each its own; a mean over seeds would blur the steps."""
    data = {f"{name}/{key}": getattr(each, key) for name, each in curves.items() for key in ("ts", "losses")}
    data = {key: values.astype(np.float32)[:, ::4] for key, values in data.items()}

    def draw(ax):
        for k, name in enumerate(curves):
            ts, losses = data[f"{name}/ts"], data[f"{name}/losses"]
            losses = losses / (losses[:, :1] if initial is None else initial)
            for row in range(len(ts)):
                label = name if row == 0 else None
                ax.plot(ts[row], losses[row], color=COLOURS[k % len(COLOURS)], lw=0.6, alpha=0.6, label=label)
        ax.set(xlabel="time t", ylabel="loss / initial loss", ylim=(-0.03, 1.08))
        ax.legend(fontsize=7, loc="upper right")

    return Panel(title, draw, data, tuple(checks), note)


def _lengths_panel(
    title: str,
    knob: str,
    values: Sequence[float],
    lengths: list[np.ndarray],
    theory=None,
    *,
    log: str = "",
    checks=(),
    note="",
) -> Panel:
    """Mean and standard error over seeds against a knob, with the predicted line."""
    means = np.array([np.nanmean(each) for each in lengths])
    errors = np.array([_standard_error(each) for each in lengths])
    data = {knob: np.array(values), "mean": means, "standard error": errors, "all": np.array(lengths)}

    def draw(ax):
        ax.errorbar(values, means, errors, fmt="o-", color=COLOURS[0], ms=4, capsize=3, label="mean ± standard error")
        if theory is not None:
            ax.plot(values, theory, "--", color="0.3", label="theory")
        ax.set(xlabel=knob, ylabel="time from first to last drop")
        ax.set(xscale="log" if "x" in log else "linear", yscale="log" if "y" in log else "linear")
        ax.set_ylim(None if "y" in log else 0, None if "y" in log else 1.2 * np.max(means + errors))
        ax.tick_params(which="minor", labelbottom=False, labelleft=False)
        ax.legend(fontsize=7)

    return Panel(title, draw, data, tuple(checks), note)


def _width_panels(seeds: int, quick: bool) -> tuple[Panel, ...]:
    """A: at matched Hε² the width does not matter to linear networks; attention's plateaus shrink with it."""
    widths = [10, 30, 100]
    scales = [LINEAR_SCALE * np.sqrt(LINEAR_ROOM / width) for width in widths]
    curves = {f"H = {h}": linear_curves(h, 1, scale, seeds, 130.0) for h, scale in zip(widths, scales, strict=True)}
    gaps = [_gap(plateau_times(each, linear_levels(1))) for each in curves.values()]
    predicted = [linear_middles(h, 1, scale, seeds) for h, scale in zip(widths, scales, strict=True)]
    predicted = [float(np.mean(each[:, -1] - each[:, 0])) for each in predicted]
    means = [float(np.mean(each)) for each in gaps]
    checks = [
        close(f"first to last drop, H = {h}", theory, mean, relative=0.03)
        for h, theory, mean in zip(widths, predicted, means, strict=True)
    ]
    checks.append(at_most("largest change with H at equal Hε²", 0.05, max(means) / min(means) - 1))
    heads = [5, 10, 25, 50]
    attention = {f"H = {h}": attention_curves(h, 1, ATTENTION_SCALE, seeds, 6000.0) for h in heads}
    spread = [_gap(plateau_times(each, attention_levels(1))) for each in attention.values()]
    # A flow that has not made its last drop by the horizon counts as infinitely long.
    medians = [float(np.median(np.where(np.isnan(each), np.inf, each))) for each in spread]
    shorter = at_most("median with 50 heads / with 5 heads, first to last drop", 0.7, medians[-1] / medians[0])
    falling = at_most("largest median / the one of fewer heads, of neighbours", 1.0, _largest_ratio(medians))
    short = {name: Curves(each.ts[:8], each.losses[:8], each.speeds[:8]) for name, each in attention.items()}
    return (
        _curves_panel("linear, equal Hε²", curves),
        _lengths_panel("linear: plateaus", "width H", widths, gaps, predicted, log="x", checks=checks),
        _curves_panel("attention, equal ε", short),
        _lengths_panel("attention: plateaus", "width H", heads, spread, log="xy", checks=(shorter, falling)),
    )


def _largest_ratio(values: Sequence[float]) -> float:
    return max(after / before for before, after in zip(values, values[1:], strict=False))


def _spectrum_panels(seeds: int, quick: bool) -> tuple[Panel, ...]:
    """B: equal singular values leave linear networks no intermediate plateau, but attention keeps them."""
    powers = [0.0, 0.5, 1.0]
    curves = {f"κ = {k:g}": linear_curves(LINEAR_ROOM, k, LINEAR_SCALE, seeds, 130.0) for k in powers}
    gaps = [_gap(plateau_times(each, linear_levels(k))) for k, each in zip(powers, curves.values(), strict=True)]
    times = [linear_middles(LINEAR_ROOM, k, LINEAR_SCALE, seeds) for k in powers]
    predicted = [float(np.mean(each[:, -1] - each[:, 0])) for each in times]
    counts = [float(np.median(each.plateaus)) for each in curves.values()]
    checks = [
        close("median number of intermediate plateaus, κ = 1", 2, counts[2], absolute=0),
        close("median number of intermediate plateaus, κ = 0", 0, counts[0], absolute=0),
        close("first to last drop, κ = 1", predicted[2], float(np.mean(gaps[2])), relative=0.03),
        close("first to last drop, κ = 0.5", predicted[1], float(np.mean(gaps[1])), relative=0.03),
    ]
    attention = {f"κ = {k:g}": attention_curves(25, k, ATTENTION_SCALE, seeds, 6000.0) for k in powers}
    spread = [
        _gap(plateau_times(each, attention_levels(k))) for k, each in zip(powers, attention.values(), strict=True)
    ]
    heads = [float(np.median(each.plateaus)) for each in attention.values()]
    kept = (
        at_least("median number of intermediate plateaus, κ = 1", 2, heads[2]),
        at_least("median number of intermediate plateaus, κ = 0", 1, heads[0]),
        at_least("median first to last drop / median first drop, κ = 0", 0.05, _relative_gap(attention["κ = 0"], 0.0)),
    )
    short = {name: Curves(each.ts[:8], each.losses[:8], each.speeds[:8]) for name, each in attention.items()}
    return (
        _curves_panel("linear", curves),
        _lengths_panel("linear: plateaus", "κ", powers, gaps, predicted, checks=checks),
        _curves_panel("attention", short),
        _lengths_panel("attention: plateaus", "κ", powers, spread, checks=kept),
    )


def _relative_gap(curves: Curves, power: float) -> float:
    times = plateau_times(curves, attention_levels(power))
    return float(np.nanmedian(_gap(times)) / np.nanmedian(times.middles[:, 0]))


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
        curves[f"rank {rank}"] = loss_curves(models, [data] * seeds, np.tile(ts, (seeds, 1)))
    levels = linear_levels(1)
    # The large weights may start above the loss of zero weights; the first plateau is at that loss.
    ends = [_last_above(each, 0.9 * levels[0]) for each in curves.values()]
    ratio = [float(np.median(each) / np.median(ends[0])) for each in ends]
    counts = [float(np.median(each.plateaus)) for each in curves.values()]
    done = _last_above(curves["rank 3"], 0.01 * levels[0])
    checks = [at_most(f"end of the first plateau, rank {r} / rank 0", 0.1, ratio[r]) for r in ranks[1:]]
    checks.append(
        at_most("rank 3: time to 1 % of the loss / rank 0's first plateau", 1.0, float(np.median(done / ends[0])))
    )
    checks.append(close("median number of intermediate plateaus, rank 0", 2, counts[0], absolute=0))

    def draw_ends(ax):
        ax.bar(ranks, [np.median(each) for each in ends], color=COLOURS[: len(ranks)])
        ax.set(xlabel="rank of the initial weights", ylabel="end of the first plateau", yscale="log", xticks=ranks)

    ended = Panel("end of the first plateau", draw_ends, {"end": np.array(ends)}, tuple(checks))
    return _curves_panel("linear, large weights of low rank", curves, float(levels[0])), ended


def _last_above(curves: Curves, level: float) -> np.ndarray:
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
    inverse = np.log(1 / np.array(small))
    drops = [_power(inverse, [each.middles[:, k] for each in held]) for k in range(3)]
    powers = [close(f"exponent of drop {k + 1} against 1/ε", 1.0, drops[k], relative=0.03) for k in range(3)]
    powers += [
        close(
            "exponent of the first dwell against 1/ε",
            1.0,
            _power(inverse, [e.dwells[:, 0] for e in held]),
            relative=0.03,
        ),
        close(
            "exponent of first to last drop against 1/ε", 1.0, _power(inverse, [_gap(e) for e in held]), relative=0.03
        ),
    ]
    gaps, spread = [_gap(each) for each in times], [_gap(each) for each in held]
    line = [float(np.mean(gaps[-1]) + (rates[3] - rates[1]) * (x - logs[-1])) for x in logs]
    power = [float(np.nanmean(spread[-1]) * small[-1] / e) for e in small]
    short = {name: Curves(each.ts[:8], each.losses[:8], each.speeds[:8]) for name, each in attention.items()}
    return (
        _curves_panel("linear", curves),
        _lengths_panel("linear: plateaus", "ε", scales, gaps, line, log="x", checks=checks),
        _curves_panel("attention", short),
        _lengths_panel("attention: plateaus", "ε", small, spread, power, log="xy", checks=powers),
    )


def _power(logs: np.ndarray, times: list[np.ndarray]) -> float:
    """The exponent of the two smallest ε, over seeds that made the drop at both."""
    last, before = times[-1], times[-2]
    both = np.isfinite(last) & np.isfinite(before)
    return float(np.median(np.log(last[both] / before[both])) / (logs[-1] - logs[-2]))


def _reproduction(letter: str, title: str, make) -> Reproduction:
    return Reproduction(f"2{letter}", title, SOURCE + letter, make, 20, 8)


FIGURE_2 = (
    _reproduction("A", "width shortens plateaus in attention, not in linear networks", _width_panels),
    _reproduction("B", "equal singular values remove intermediate plateaus in linear networks only", _spectrum_panels),
    _reproduction("C", "large weights of low rank have no first plateau", _low_rank_panels),
    _reproduction("D", "plateaus last as ln 1/ε in linear networks, as 1/ε in attention", _scale_panels),
)
