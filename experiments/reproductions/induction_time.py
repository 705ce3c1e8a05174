"""How long an induction head takes to form: as N² for N pairs in context, or as N² / ln N if attention is causal."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ...analysis.figures.style import COLOURS
from ...analysis.theory.closed_forms.induction_time import causal_rate, product_rate
from ...flows import simulate
from ..setups.induction_circuit import InductionCircuit, circuit_loss, contexts
from .check import at_most, close
from .panel import Panel, Reproduction
from .plateau_times import crossings

SOURCE = "Musat et al. (2025), “On the emergence of induction heads for in-context learning”"
PAIRS, QUICK_PAIRS = (4, 8, 16, 32, 64), (4, 8, 16)
# Initial values of the three parameters: the plateau ends as ln 1/ε where a small quadratic term of the loss decides,
# as 1/ε where a cubic one does.
SCALES = (1e-4, 1e-6)
# The head has formed when half of the initial loss is left.
FORMED = 0.5
RTOL = 1e-8


def _horizon(pairs: int, scale: float, causal: bool) -> float:
    """The time by theory and a quarter more, or that and the time of growth from a size of one to one of a thousand."""
    if not causal:
        return 1.25 / (product_rate(pairs) * scale)
    return float(np.log(1 / scale) + np.log(1e3)) / causal_rate(pairs)


def _formed(pairs: int, room: int, scale: float, causal: bool) -> float:
    """When the head has formed in a flow from α = β = γ = ε."""
    value, data = np.asarray(scale), contexts(pairs, room=room, causal=causal)
    model = InductionCircuit(previous=value, matching=value, copying=value)
    flow = simulate(model, circuit_loss, data, t1=_horizon(pairs, scale, causal), rtol=RTOL)
    return float(crossings(flow.ts[None], flow.losses[None], FORMED * float(flow.losses[0]))[0])


def _exponents(pairs: Sequence[int], times: Float[np.ndarray, " B"]) -> Float[np.ndarray, " B"]:
    r"""$d \ln t / d \ln N$ between neighbouring N."""
    return np.diff(np.log(times)) / np.diff(np.log(np.array(pairs)))


def _panel(pairs: Sequence[int], causal: bool) -> Panel:
    """Times at which the head has formed, against those of the lowest-order terms of the loss."""
    first, second = (np.array([_formed(n, max(pairs), scale, causal) for n in pairs]) for scale in SCALES)
    if causal:
        # Whatever follows the first growth takes the same time from either start.
        measured = (second - first) / np.log(SCALES[0] / SCALES[1])
        theory = np.array([1 / causal_rate(each) for each in pairs])
        name, law = "(t(ε₂) − t(ε₁)) / ln(ε₁/ε₂)", r"$2N(2N+1)/(H_N - 1)$"
    else:
        measured = second * SCALES[1]
        theory = np.array([1 / product_rate(each) for each in pairs])
        name, law = "ε t", r"$(2N+1)^2/(1 - 1/N)$"
    slopes, expected = _exponents(pairs, measured), _exponents(pairs, theory)
    checks = [close(f"N = {n}: {name}", t, m, relative=0.005) for n, t, m in zip(pairs, theory, measured, strict=True)]
    checks.append(
        close(f"exponent from N = {pairs[-2]} to {pairs[-1]}", float(expected[-1]), float(slopes[-1]), absolute=0.005)
    )
    checks.append(at_most("exponent, at any N", 2.0, float(np.max(slopes))))
    drawn = {"N": np.array(pairs, float), "measured": measured, "theory": theory}

    def draw(ax: Any) -> None:
        ax.loglog(drawn["N"], drawn["theory"], "k:", lw=1, label=law)
        ax.loglog(
            drawn["N"], drawn["theory"][-1] * (drawn["N"] / drawn["N"][-1]) ** 2, color="0.7", lw=1, label="$N^2$"
        )
        ax.loglog(drawn["N"], drawn["measured"], "o", color=COLOURS[0], ms=4, label="flow")
        ax.set(xlabel="pairs in context N", ylabel="time over its dependence on ε")
        ax.set_xticks(drawn["N"], [str(n) for n in pairs], minor=False)
        ax.minorticks_off()
        ax.legend(fontsize=7)

    return Panel(
        title="causal attention" if causal else "attention to all tokens",
        draw=draw,
        data=drawn,
        checks=tuple(checks),
        note=CAUSAL if causal else "",
    )


CAUSAL = (
    "Not N² but N²/ln N: behind a causal mask an earlier item has a larger share in what later tokens read, and the "
    "labels can be told apart before the first layer attends to anything in particular."
)


def _make(seeds: int, quick: bool) -> tuple[Panel, ...]:
    del seeds  # nothing is random
    pairs = QUICK_PAIRS if quick else PAIRS
    return _panel(pairs, False), _panel(pairs, True)


REPRODUCTIONS = (
    Reproduction(
        name="induction-time",
        title="induction heads form in a time that grows as the square of the context",
        source=SOURCE,
        make=_make,
    ),
)
