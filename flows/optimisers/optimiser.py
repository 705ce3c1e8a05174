"""The optimisers that practice uses instead of the flow, each with the flow's time that one of its steps takes."""

import math
from functools import cache
from typing import TYPE_CHECKING

import equinox as eqx

if TYPE_CHECKING:
    import optax


class Optimiser(eqx.Module):
    """An optax transformation, and where its steps lie on the flow's time axis.

    - `name`: what to call it; `transformation`: the optimiser, learning rate included;
    - `time`: time per step, for an optimiser of one's own whatever makes its limit of small steps the flow;
    - `follows_flow`: whether it has such a limit; if not, its time is a scale of its own.
    """

    name: str = eqx.field(static=True)
    transformation: "optax.GradientTransformation" = eqx.field(static=True)
    time: float = eqx.field(static=True)
    follows_flow: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        if not (math.isfinite(self.time) and self.time > 0):
            raise ValueError(f"the time per step must be positive and finite; got {self.time}.")


@cache
def gradient_descent(step: float) -> Optimiser:
    r"""$\theta \leftarrow \theta - \eta \nabla L$: Euler's method for the flow, at time η per step.

    Near a saddle it grows by 1 + ηλ per step, that is at the rate $\ln(1 + \eta\lambda)/\eta$ instead of λ.

    **Arguments:** `step`: η.
    """
    _check_step(step)
    import optax

    return Optimiser(f"gradient descent, step {step:g}", optax.sgd(step), step)


@cache
def momentum(step: float, decay: float = 0.9) -> Optimiser:
    r"""Heavy ball, $m \leftarrow \mu m + \nabla L$, $\theta \leftarrow \theta - \eta m$, at time η / (1 − μ) per step.

    For small η it follows the flow at that pace, since m is a sum of the last 1 / (1 − μ) gradients.

    **Arguments:** `step`: η; `decay`: μ in [0, 1).

    Source: Polyak (1964).
    """
    _check_step(step)
    if not 0 <= decay < 1:
        raise ValueError(f"the decay of the momentum must lie in [0, 1); got {decay}.")
    import optax

    return Optimiser(f"momentum {decay:g}, step {step:g}", optax.sgd(step, momentum=decay), step / (1 - decay))


@cache
def adam(step: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimiser:
    r"""Adam, at time η per step.

    Its limit of small steps is not the flow: every weight moves at a speed near one, whatever the gradient's size, so
    that t is the distance that a weight can have travelled, and plateaus, where gradients are small, are crossed at
    full speed unless the gradient falls below `eps`.

    **Arguments:** `step`: η; `b1`, `b2`: decays of the first and second moment; `eps`: added to the root of the second.

    Source: Kingma & Ba (2015).
    """
    _check_step(step)
    import optax

    return Optimiser(f"Adam, step {step:g}", optax.adam(step, b1, b2, eps), step, False)


def _check_step(step: float) -> None:
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"the step must be positive and finite; got {step}.")
