"""Whether the vector field jumps within steps: the mark of sliding along a kink."""

import numpy as np

from ..landscapes.landscape import Landscape
from .steps import Steps

# By the values at its ends, a step h in a smooth field of curvature λ is known to a share (λh)²/12.
BEYOND = 100.0
# Of the accepted steps that are examined so many must show a jump: single kinks are crossed by one or two.
REPEATED = 4


def jumps(landscape: Landscape, steps: Steps) -> bool:
    r"""Whether steps lead elsewhere than the field at their ends, again and again.

    Where a flow slides along a kink, at which the gradient jumps, its steps are thrown across it and back: they average
    over values of the gradient that it has at neither end. Where it is smooth,
    $\Delta\theta = -h (\nabla L_k + \nabla L_{k+1})/2$ up to a share of the order of $(\lambda h)^2$.

    Args:
        landscape: the loss.
        steps: successive accepted steps.

    Returns:
        Whether several of them differ from this by more than the curvature accounts for.
    """
    if len(steps) <= REPEATED:
        return False
    gradients = landscape.values_and_gradients(steps.thetas)[1]
    h = np.diff(steps.ts)[:, None]
    moved, expected = np.diff(steps.thetas, axis=0), -h * (gradients[1:] + gradients[:-1]) / 2
    smooth = BEYOND * (landscape.sharpness(steps.thetas[-1]) * h[:, 0]) ** 2 * np.linalg.norm(expected, axis=1)
    rounding = BEYOND * np.finfo(moved.dtype).eps * float(np.linalg.norm(steps.thetas[-1]))
    return int(np.sum(np.linalg.norm(moved - expected, axis=1) > smooth + rounding)) >= REPEATED
