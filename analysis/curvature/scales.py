"""The characteristic scales of a flow, against which its numbers are small or large."""

import equinox as eqx


class Scales(eqx.Module):
    """Characteristic scales of a flow.

    Attributes:
        loss: of changes of the loss, its range along the flow, by default 1.
        gradient: of ‖∇L‖.
        curvature: of the Hessian's eigenvalues; `None` where it is unknown, and thresholds follow the spectrum at hand.
        weight: of ‖θ‖, typically its norm after learning.
    """

    loss: float = 1.0
    gradient: float = 1.0
    curvature: float | None = None
    weight: float = 1.0

    def __str__(self) -> str:
        curvature = "unknown" if self.curvature is None else f"{self.curvature:.4g}"
        return (
            f"characteristic scales: loss {self.loss:.4g}, gradient {self.gradient:.4g}, "
            f"curvature {curvature}, weights {self.weight:.4g}"
        )
