"""The sizes against which a flow's numbers are small or large."""

import equinox as eqx


class Scales(eqx.Module):
    """Sizes that count as large: of the loss, the gradient, the Hessian's eigenvalues, and the weights ‖θ‖.

    `curvature` is `None` where it is not known; thresholds then follow the spectrum at hand.
    """

    loss: float = 1.0
    gradient: float = 1.0
    curvature: float | None = None
    weight: float = 1.0
