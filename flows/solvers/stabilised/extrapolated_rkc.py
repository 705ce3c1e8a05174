"""A stabilised explicit method of order 4, by extrapolation of RKC2.

Our own: Diffrax has no stabilised method.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..flat_field import FlatField
from .rkc2 import chebyshev_step
from .solver import StabilisedSolver, Start

# Damping φ of the extrapolated method. RKC2's own, 0.55, would leave |R| near 1 in the interval, which the weights of
# the extrapolation raise above 1; with this one the extrapolated |R| stays below 0.8 there. It costs a tenth of β.
PHI = 1.5
# β of the method of s stages with this damping is at least this times s² - 1.
INTERVAL = 0.58
# Numbers of substeps, and the place of each substep in its sequence.
SEQUENCE = (1, 2, 2, 3, 3, 3)
PLACE = (0, 0, 1, 0, 1, 2)
LAST = (0, 2, 5)
# RKC2 errs by h² e₂ + h³ e₃ + O(h⁴): three sequences remove both terms; two of them, for comparison, the first.
WEIGHTS = (1 / 12, -4 / 3, 9 / 4)
COMPARED = (0.0, -4 / 5, 9 / 5)
# The parabola through the rates at 0, 1/3 and 2/3, continued to 1.
CONTINUED = (1.0, -3.0, 3.0)


class ExtrapolatedRKC(StabilisedSolver):
    r"""Runge–Kutta–Chebyshev method of order 4: a step of RKC2 made in one, two and three parts, and extrapolated.

    With $S_k$ the result of k substeps of s stages each, the end is $S_1/12 - 4S_2/3 + 9S_3/4$. With 6s - 2 evaluations
    it is stable on $[-\beta, 0]$ with $\beta \approx 0.58 s^2$. The error estimate, the difference to $(9S_3 - 4S_2)/5$
    of order 3, is bounded there, so that neither stiffness nor rounding shortens the steps; added to it is what a kink
    of the field just before the end would cost, estimated from the rate there. Like `RKC2` for fields whose Jacobian
    has its eigenvalues near the negative real axis; the better of the two for errors below some 1e-5.

    `max_stages` (per substep), `safety`, `quadratures` and the solver state are those of `StabilisedSolver`.

    Source: the idea of extrapolating damped Chebyshev methods is that of Martín-Vaquero & Kleefeld (2016),
    "Extrapolated stabilized explicit Runge–Kutta methods", J. Comput. Phys. 326, who start from order 1 and need four
    sequences.
    """

    def order(self, terms: Any) -> int:
        """The order, 4."""
        return 4

    def stages(self, length: Float[Array, ""]) -> Float[Array, ""]:
        r"""The number of stages whose interval of stability has at least this length $h\rho$."""
        return jnp.maximum(2.0, jnp.ceil(jnp.sqrt(1 + length / INTERVAL)))

    def evaluations(self, stages: Int[Array, ""]) -> Int[Array, ""]:
        """The number of evaluations of the field in a step of these stages."""
        return 6 * stages - 2

    def advance(
        self, field: FlatField, start: Start, h: Float[Array, ""], stages: Int[Array, ""]
    ) -> tuple[Float[Array, " n"], Callable[[Array], Array]]:
        """The increment over a step, and its error estimate as a function of the rate at the step's end."""
        t, x, rate = start

        def substep(increment: Array, which: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
            parts, place = which
            length = h / parts
            time = t + (place * length).astype(jnp.result_type(t))
            increment = jnp.where(place == 0, 0.0, increment)
            begin = x + increment
            slope = jax.lax.cond(place == 0, lambda: rate, lambda: field(time, begin))
            increment += chebyshev_step(field, (time, begin, slope), length, stages, PHI, self.max_stages)
            return increment, (increment, slope)

        which = (jnp.asarray(SEQUENCE, x.dtype), jnp.asarray(PLACE, x.dtype))
        _, (increments, slopes) = jax.lax.scan(substep, jnp.zeros_like(x), which)
        results, thirds = increments[jnp.asarray(LAST)], slopes[-3:]
        end = jnp.asarray(WEIGHTS, x.dtype) @ results
        difference = end - jnp.asarray(COMPARED, x.dtype) @ results

        def estimate(end_rate: Array) -> Array:
            # The last stage of the shortest substeps lies some 2h/(3s) before the end. A jump of the rate after it
            # changes no stage, only the rate at the end, and costs half that time on average.
            jump = end_rate - jnp.asarray(CONTINUED, x.dtype) @ thirds
            return difference + h * jump / (3 * stages.astype(x.dtype))

        return end, estimate
