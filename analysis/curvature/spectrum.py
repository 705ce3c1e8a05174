"""The Hessian at a point: spectrum, index, nullity."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ...flows import Landscape
from ...flows.curvature.hessian import hessian_of

# A dense Hessian of 3000 parameters takes 72 MB and its eigenvectors about a minute.
DENSE_LIMIT = 3000
# From so many parameters on a Hessian from its parts, checked against products, is worth its longer compilation.
FROM_PARTS = 400


class Spectrum(eqx.Module):
    r"""Eigenvalues and eigenvectors of the Hessian $\nabla^2 L$, and what their signs say.

    - `eigenvalues`: ascending; `eigenvectors`: columns.
    - `zero_threshold`: |λ| up to this counts as zero.
    - `largest_zero`, `smallest_nonzero`: the |λ| on either side of it (0 and infinity where there is none): a gap of
      many decades justifies the count.
    """

    eigenvalues: Float[np.ndarray, " n"]
    eigenvectors: Float[np.ndarray, "n n"]
    zero_threshold: float

    @property
    def index(self) -> int:
        """The number of negative eigenvalues."""
        return int(np.sum(self.eigenvalues < -self.zero_threshold))

    @property
    def nullity(self) -> int:
        """The number of eigenvalues that count as zero."""
        return int(np.sum(np.abs(self.eigenvalues) <= self.zero_threshold))

    @property
    def largest_zero(self) -> float:
        """The largest |λ| that counts as zero."""
        sizes = np.abs(self.eigenvalues)
        return float(np.max(sizes, where=sizes <= self.zero_threshold, initial=0.0))

    @property
    def smallest_nonzero(self) -> float:
        """The smallest |λ| that does not count as zero."""
        sizes = np.abs(self.eigenvalues)
        return float(np.min(sizes, where=sizes > self.zero_threshold, initial=np.inf))

    def leading_unstable(self, spread: float = 1e-6) -> Float[np.ndarray, "n m"]:
        """Eigenvectors of the most negative eigenvalue, with all whose eigenvalue agrees with it to `spread`."""
        most = self.eigenvalues[0]
        return self.eigenvectors[:, self.eigenvalues <= most * (1 - spread)] if self.index else self.eigenvectors[:, :0]

    @property
    def null_space(self) -> Float[np.ndarray, "n k"]:
        """Eigenvectors whose eigenvalues count as zero."""
        return self.eigenvectors[:, np.abs(self.eigenvalues) <= self.zero_threshold]


@eqx.filter_jit
def _from_parts(parts: Callable, theta: Float[Array, " n"]) -> Float[Array, "n n"]:
    return parts(theta)


def hessian(landscape: Landscape, theta: Float[Any, " n"] | None = None) -> Float[np.ndarray, "n n"]:
    """The dense Hessian of the loss at θ, by default the landscape's own.

    Exact: from its parts where loss and model allow it (`saddlescope.flows.hessian_of`), else from products.

    **Raises:** `ValueError` beyond 3000 parameters.
    """
    theta = landscape.theta if theta is None else np.asarray(theta)
    if theta.size > DENSE_LIMIT:
        raise ValueError(f"a dense Hessian is made for up to {DENSE_LIMIT} parameters; the model has {theta.size}.")
    parts = hessian_of(landscape) if theta.size >= FROM_PARTS else None
    if parts is None:
        return landscape.hessian(theta)
    matrix = np.asarray(_from_parts(parts, theta))
    return (matrix + matrix.T) / 2


def spectrum(
    landscape: Landscape, theta: Float[Any, " n"] | None = None, *, zero_threshold: float | None = None
) -> Spectrum:
    r"""Eigenvalues and eigenvectors of the Hessian.

    **Arguments:** `landscape`; `theta`: θ, by default the landscape's own; `zero_threshold`: |λ| up to this counts as
    zero; by default $\sqrt{eps} \max|\lambda|$, since a point known to within rounding has its zero eigenvalues to
    within about that.
    """
    values, vectors = np.linalg.eigh(hessian(landscape, theta))
    if zero_threshold is None:
        zero_threshold = float(np.sqrt(np.finfo(values.dtype).eps) * np.max(np.abs(values), initial=0.0))
    return Spectrum(values, vectors, zero_threshold)
