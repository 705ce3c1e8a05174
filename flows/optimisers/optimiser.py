"""Optimisers of practice, each with the time that one of its steps takes on the flow's time axis."""

import math
from functools import cache
from typing import TYPE_CHECKING

import equinox as eqx

if TYPE_CHECKING:
    import optax


class Optimiser(eqx.Module):
    """An optax transformation, and where its steps lie on the flow's time axis.

    Attributes:
        name: the optimiser's name.
        transformation: the optax transformation, learning rate included.
        time: time per step, such that the limit of small steps is the flow.
        follows_flow: whether it has such a limit; if not, its time has a scale of its own.
    """

    name: str = eqx.field(static=True)
    transformation: "optax.GradientTransformation" = eqx.field(static=True)
    time: float = eqx.field(static=True)
    follows_flow: bool = eqx.field(static=True, default=True)

    def __check_init__(self) -> None:
        if not (math.isfinite(self.time) and self.time > 0):
            raise ValueError(f"the time per step must be positive and finite; got {self.time}.")

    def __str__(self) -> str:
        limit = "converges to gradient flow" if self.follows_flow else "does not converge to gradient flow"
        return f"{self.name}: time {self.time:.6g} per step; {limit} for small steps"


@cache
def gradient_descent(step: float) -> Optimiser:
    r"""Gradient descent, $\theta \leftarrow \theta - \eta \nabla L$: Euler's method for the flow, at time η per step.

    At a saddle it escapes by a factor of 1 + ηλ per step, that is at the rate $\ln(1 + \eta\lambda)/\eta$ instead of λ.

    Args:
        step: the step size η.

    Returns:
        The optimiser.
    """
    _check_step(step)
    import optax

    return Optimiser(name=f"gradient descent, step {step:g}", transformation=optax.sgd(step), time=step)


@cache
def momentum(step: float, decay: float = 0.9) -> Optimiser:
    r"""Heavy ball, $m \leftarrow \mu m + \nabla L$, $\theta \leftarrow \theta - \eta m$, at time η / (1 − μ) per step.

    For small η it follows the flow at that pace, since m is a sum of the last 1 / (1 − μ) gradients.

    Args:
        step: the step size η.
        decay: μ in [0, 1).

    Returns:
        The optimiser.

    Raises:
        ValueError: when the step size or the decay is out of range.

    Source: Polyak (1964).
    """
    _check_step(step)
    if not 0 <= decay < 1:
        raise ValueError(f"the decay of the momentum must lie in [0, 1); got {decay}.")
    import optax

    name, transformation = f"momentum {decay:g}, step {step:g}", optax.sgd(step, momentum=decay)
    return Optimiser(name=name, transformation=transformation, time=step / (1 - decay))


@cache
def adam(step: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimiser:
    r"""Adam, at time η per step.

    Its limit of small steps is not the flow: every weight moves at a speed near one, whatever the gradient's size. So t
    bounds the distance that a weight has moved, and plateaus, where gradients are small, are crossed at full speed
    unless the gradient falls below `eps`.

    Args:
        step: the step size η.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root of the second moment.

    Returns:
        The optimiser.

    Source: Kingma & Ba (2015).
    """
    _check_step(step)
    import optax

    transformation = optax.adam(step, b1, b2, eps)
    return Optimiser(name=f"Adam, step {step:g}", transformation=transformation, time=step, follows_flow=False)


def _check_step(step: float) -> None:
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"the step must be positive and finite; got {step}.")
