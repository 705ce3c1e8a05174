"""Dormand and Prince's pair on the host, for flows of some tens of steps: a program would compile for longer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import diffrax as dfx
import numpy as np
from jaxtyping import Float

TABLEAU = dfx.Dopri5.tableau
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
        field: f.
        t: its beginning.
        y: the state there.
        velocity: f there.
        length: h, in units of t.
        end: the state at t + h.
        end_velocity: f there.
    """

    field: Field
    t: float
    y: State
    velocity: State
    length: float
    end: State
    end_velocity: State

    def after(self, length: float) -> State:
        """The state after a step of another length from its beginning."""
        return _advanced(self.field, self.t, self.y, self.velocity, length)[0]


def _advanced(field: Field, t: float, y: State, velocity: State, length: float) -> tuple[State, State, State]:
    """The state after a step, the velocity there, and the estimated error."""
    stages, end = [velocity], y
    for share, row in zip(TABLEAU.c, TABLEAU.a_lower, strict=True):
        end = y + length * (np.asarray(row) @ np.array(stages))
        stages.append(field(t + share * length, end))
    # The last stage is at the end of the step: it is the solution's, and the next step's first.
    return end, stages[-1], length * (np.asarray(TABLEAU.b_error) @ np.array(stages))


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
        with np.errstate(all="ignore"):
            end, slope, error = _advanced(field, t, y, velocity, length)
            size = float(np.sqrt(np.mean((error / (rtol * (scale + np.maximum(np.abs(y), np.abs(end))))) ** 2)))
        accepted = size <= 1 and bool(np.all(np.isfinite(slope)))
        if accepted:
            yield Step(field=field, t=t, y=y, velocity=velocity, length=length, end=end, end_velocity=slope)
            t, y, velocity = t + length, end, slope
        factor = SAFETY * max(size, np.finfo(float).tiny) ** EXPONENT if np.isfinite(size) else SHORTEST
        length *= min(max(factor, SHORTEST), LONGEST if accepted else 1.0)
