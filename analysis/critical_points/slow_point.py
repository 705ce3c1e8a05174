"""Slow without a critical point, as a record: flat channels to infinity, and ghosts of vanished critical points."""

from typing import Any, Literal

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Landscape


class SlowPoint(eqx.Module):
    r"""Why a flow is slow where no critical point is.

    Attributes:
        name: "ghost": a local minimum of $\|\nabla L\|$ that is not zero, as a saddle and a minimum leave behind where
            they have merged and vanished; "flat channel": the loss decreases ever more slowly and the weights diverge.
        landscape: the loss.
        theta: the slowest point (ghost), or the network at the end of the time for which it was followed (channel).
        speed: $\|\nabla L\|$ there.
        exponent: of a channel, −a of $L - L_0 \propto (t - t_0)^{-a}$ at its end, $L_0$ the lower bound of the loss, or
            zero: −1 where separable data let it fall as exponentials of growing weights; `None` for ghosts.
        passage: $\pi / \sqrt{g \mu}$ with $\mu = D^3 L(\hat g, \hat g, \hat g) / 2$ and g the speed, the time that a
            ghost delays the flow; `None` for channels.
        evidence: one sentence.

    Source: Strogatz (2014), "Nonlinear dynamics and chaos", Section 4.3, for ghosts; Brea, Martinelli, Şimşek &
    Gerstner (2025), "Flat channels to infinity in neural loss landscapes".
    """

    name: Literal["ghost", "flat channel"]
    landscape: Landscape
    theta: Float[np.ndarray, " n"]
    speed: float
    passage: float | None
    evidence: str
    exponent: float | None = None

    @property
    def model(self) -> Any:
        """The network there."""
        return self.landscape.at(self.theta)

    def __str__(self) -> str:
        passage = "" if self.passage is None else f", time of passage {self.passage:.4g}"
        return (
            f"{self.name}: speed ‖∇L‖ = {self.speed:.3g}{passage}\n"
            f"  where: ‖θ‖ = {np.linalg.norm(self.theta):.3g}, loss {float(self.landscape.value(self.theta)):.6g}\n"
            f"  evidence: {self.evidence}"
        )
