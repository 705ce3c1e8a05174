"""Dormand and Prince's pair on the host, for flows of some tens of steps: a program would compile for longer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import diffrax as dfx
import numpy as np
from jaxtyping import Float

TABLEAU = dfx.Dopri5.tableau
# Weights of the stages at the middle of a step, to fourth order (Shampine 1986).
MIDDLE = np.array(
    [
        6025192743 / 60171106304,
        0.0,
        51252292925 / 130801643196,
        -2691868925 / 90256659456,
        187940372067 / 3189068634112,
        -1776094331 / 39487288512,
        11237099 / 470086768,
    ]
)
# The usual safety of an estimated step, and how much shorter or longer than the last one it may be.
SAFETY, SHORTEST, LONGEST = 0.9, 0.2, 5.0
# Of the estimated error: one more than the order of the embedded method, whose error it is.
EXPONENT = -1 / 5

State = Float[np.ndarray, " n"]
Field = Callable[[float, State], State]


@dataclass(frozen=True)
class Step:
    r"""An accepted step of $\dot y = f(t, y)$.

    Attributes:
        t: its beginning.
        y: the state there.
        velocity: f there.
        length: h, in units of t.
        end: the state at t + h.
        end_velocity: f there.
        middle: the state at t + h/2.
    """

    t: float
    y: State
    velocity: State
    length: float
    end: State
    end_velocity: State
    middle: State

    def at(self, share: float) -> State:
        """The state after a share of the step, a polynomial of degree four."""
        start, end = self.length * self.velocity, self.length * self.end_velocity
        fourth = 2 * (end - start) - 8 * (self.y + self.end) + 16 * self.middle
        third = 5 * start - 3 * end + 18 * self.y + 14 * self.end - 32 * self.middle
        second = end - 4 * start - 11 * self.y - 5 * self.end + 16 * self.middle
        return self.y + share * (start + share * (second + share * (third + share * fourth)))


def explicit_steps(field: Field, y: State, *, scale: State, rtol: float, first: float) -> Iterator[Step]:
    r"""The accepted steps of $\dot y = f(t, y)$ from time 0.

    Args:
        field: f.
        y: the state at time 0.
        scale: the size of each component; `rtol` times it is the absolute tolerance.
        rtol: the relative tolerance of a step.
        first: the length of the first step to be tried, in units of t.

    Yields:
        Without end, unless the steps shrink to nothing, as where f is not finite.

    Source: Dormand & Prince (1980).
    """
    t, velocity, length = 0.0, field(0.0, y), first
    while t + length > t:
        stages, end = [velocity], y
        with np.errstate(all="ignore"):
            for share, row in zip(TABLEAU.c, TABLEAU.a_lower, strict=True):
                end = y + length * (np.asarray(row) @ np.array(stages))
                stages.append(field(t + share * length, end))
            # The last stage is at the end of the step: it is the solution's, and the next step's first.
            error, middle = (length * (weights @ np.array(stages)) for weights in (np.asarray(TABLEAU.b_error), MIDDLE))
            size = float(np.sqrt(np.mean((error / (rtol * (scale + np.maximum(np.abs(y), np.abs(end))))) ** 2)))
        accepted = size <= 1 and bool(np.all(np.isfinite(stages[-1])))
        if accepted:
            yield Step(t=t, y=y, velocity=velocity, length=length, end=end, end_velocity=stages[-1], middle=y + middle)
            t, y, velocity = t + length, end, stages[-1]
        factor = SAFETY * max(size, np.finfo(float).tiny) ** EXPONENT if np.isfinite(size) else SHORTEST
        length *= min(max(factor, SHORTEST), LONGEST if accepted else 1.0)
