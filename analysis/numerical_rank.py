"""The numerical rank of a matrix, from its singular values, and the tolerances at which it is taken."""

import numpy as np
from jaxtyping import Float

# Matrices of derivatives, and of directions made from them, are exact to rounding, which nested derivatives and some
# thousand rows amplify to about 1e-13. Singular values that generic parameters make non-zero lie above 1e-6.
DERIVATIVE_TOLERANCE = 1e-9
# Maps of units are given exactly, without derivatives: only the rounding of the decomposition itself is to be excluded.
MAP_TOLERANCE = 1e-12


def numerical_rank(values: Float[np.ndarray, " k"], tolerance: float, *, scale: float | None = None) -> int:
    r"""The number of singular values above a share of the largest, $\sigma_i > \tau \max_j \sigma_j$.

    Args:
        values: the singular values, not negative, in any order.
        tolerance: τ, the share up to which a value counts as zero.
        scale: what τ is a share of; by default the largest value.

    Returns:
        The rank; 0 where all values are zero or there are none.
    """
    largest = np.max(values, initial=0.0) if scale is None else scale
    return int(np.sum(values > tolerance * largest))
