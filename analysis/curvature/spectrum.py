"""The Hessian at a point: spectrum, index, nullity."""

from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int

from ...flows import Landscape
from ...flows.curvature.hessian import hessian_of
from ...flows.curvature.unit_hessian import UnitHessian
from ...flows.landscapes.point import point_of

# A dense Hessian of 3000 parameters takes 72 MB and its eigenvectors about a minute.
DENSE_HESSIAN_LIMIT = 3000
# From this number of parameters on a structured Hessian, checked against products, is worth its longer compilation.
STRUCTURED_HESSIAN_FROM = 400
# Neighbouring eigenvalues that differ by less than this share of the lowest belong to one eigenspace: a critical point
# is known to about 1e-10, and degenerate eigenvalues to within about the square root of its loss of digits.
EIGENSPACE_SPREAD = 1e-6


def eigenspaces(values: Float[np.ndarray, " k"]) -> tuple[Int[np.ndarray, " m"], ...]:
    """The positions of negative eigenvalues in ascending order that are as good as equal, for each eigenspace."""
    if len(values) == 0:
        return ()
    edges = np.flatnonzero(np.diff(values) > EIGENSPACE_SPREAD * np.abs(values[0])) + 1
    return tuple(np.split(np.arange(len(values)), edges))


class PseudoInverse(NamedTuple):
    r"""The map $g \mapsto H^+ g$, zero on the null space of H; −H⁺g is Newton's step off it.

    Attributes:
        vectors: orthonormal eigenvectors of H, as columns.
        values: the inverses of their eigenvalues, zero for those on the null space.
    """

    vectors: Float[Any, "n n"]
    values: Float[Any, " n"]

    def __call__(self, gradient: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """$H^+ g$."""
        vectors = np.asarray(self.vectors)
        return vectors @ (np.asarray(self.values) * (vectors.T @ gradient))


class Spectrum(eqx.Module):
    r"""Eigenvalues and eigenvectors of the Hessian $\nabla^2 L$, with index and nullity.

    Attributes:
        eigenvalues: λ, ascending.
        eigenvectors: orthonormal, as columns.
        zero_threshold: |λ| up to this counts as zero.
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
    def positive(self) -> int:
        """The number of positive eigenvalues."""
        return int(np.sum(self.eigenvalues > self.zero_threshold))

    @property
    def largest_zero(self) -> float:
        """The largest |λ| that counts as zero, 0 if none does.

        A gap of many decades between it and `smallest_nonzero` justifies index and nullity.
        """
        sizes = np.abs(self.eigenvalues)
        return float(np.max(sizes, where=sizes <= self.zero_threshold, initial=0.0))

    @property
    def smallest_nonzero(self) -> float:
        """The smallest |λ| that does not count as zero, infinite if all do."""
        sizes = np.abs(self.eigenvalues)
        return float(np.min(sizes, where=sizes > self.zero_threshold, initial=np.inf))

    @property
    def null_space(self) -> Float[np.ndarray, "n k"]:
        """Eigenvectors whose eigenvalues count as zero."""
        return self.eigenvectors[:, np.abs(self.eigenvalues) <= self.zero_threshold]

    def eigenspaces(self) -> tuple[Int[np.ndarray, " m"], ...]:
        r"""The unstable eigenspaces, lowest eigenvalue first.

        Neighbouring negative eigenvalues share one where $\lambda_{k+1} - \lambda_k \le 10^{-6} |\lambda_1|$.

        Returns:
            For each eigenspace the positions of its eigenvalues and eigenvectors; empty without negative eigenvalues.
        """
        return eigenspaces(self.eigenvalues[: self.index])

    def pseudo_inverse(self) -> PseudoInverse:
        """The Hessian's pseudo-inverse."""
        nonzero = np.abs(self.eigenvalues) > self.zero_threshold
        values = np.divide(1.0, self.eigenvalues, out=np.zeros_like(self.eigenvalues), where=nonzero)
        return PseudoInverse(self.eigenvectors, values)

    def __str__(self) -> str:
        lines = [
            f"Hessian spectrum of {len(self.eigenvalues)} parameters: "
            f"index {self.index}, nullity {self.nullity}, {self.positive} positive"
        ]
        if self.eigenvalues.size:
            lines.append(f"  λ from {self.eigenvalues[0]:.6g} to {self.eigenvalues[-1]:.6g}")
            gap = f"largest |λ| below it {self.largest_zero:.2g}, smallest above it {self.smallest_nonzero:.2g}"
            lines.append(f"  |λ| ≤ {self.zero_threshold:.2g} counts as zero: {gap}")
        if spaces := self.eigenspaces():
            shown = [f"{self.eigenvalues[space].mean():.6g} (× {len(space)})" for space in spaces[:4]]
            lines.append(f"  unstable: {', '.join(shown)}{', …' if len(spaces) > 4 else ''}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks."""
        first, *rest = str(self).splitlines()
        rows = [line.strip().partition(":") for line in rest]
        cells = "".join(f"<tr><td>{escape(a)}</td><td>{escape(b.strip())}</td></tr>" for a, _, b in rows)
        return f"<table><caption>{escape(first)}</caption>{cells}</table>"


@eqx.filter_jit
def _structured(function: Callable[[Array], Any], theta: Float[Any, " n"]) -> Float[Array, "n n"]:
    return function(theta)


def hessian(landscape: Landscape, theta: Float[Any, " n"] | None = None) -> Float[np.ndarray, "n n"]:
    """The dense Hessian of the loss at θ.

    Exact: structured where loss and model allow it (`saddlescope.flows.hessian_of`), else from Hessian–vector products.

    Args:
        landscape: loss and data.
        theta: θ, by default the landscape's own.

    Returns:
        The symmetric matrix.

    Raises:
        ValueError: for more than 3000 parameters, and where the Hessian is not finite.
    """
    theta = point_of(landscape, theta)
    if theta.size > DENSE_HESSIAN_LIMIT:
        raise ValueError(f"a dense Hessian has at most {DENSE_HESSIAN_LIMIT} parameters; the model has {theta.size}.")
    function = hessian_of(landscape) if theta.size >= STRUCTURED_HESSIAN_FROM else None
    # Products in blocks: all of them at once take gigabytes where there is attention.
    matrix = np.asarray(_structured(function, theta) if isinstance(function, UnitHessian) else landscape.hessian(theta))
    if not np.all(np.isfinite(matrix)):
        raise ValueError("the Hessian is not finite at these parameters.")
    return (matrix + matrix.T) / 2


def spectrum(
    landscape: Landscape, theta: Float[Any, " n"] | None = None, *, zero_threshold: float | None = None
) -> Spectrum:
    r"""Eigenvalues and eigenvectors of the Hessian.

    Args:
        landscape: loss and data.
        theta: θ, by default the landscape's own.
        zero_threshold: |λ| up to this counts as zero; by default $\sqrt{\epsilon} \max|\lambda|$, since a point known
            to within rounding ε has its zero eigenvalues to within about that.

    Returns:
        The spectrum.
    """
    values, vectors = np.linalg.eigh(hessian(landscape, theta))
    if zero_threshold is None:
        zero_threshold = float(np.sqrt(np.finfo(values.dtype).eps) * np.max(np.abs(values), initial=0.0))
    return Spectrum(eigenvalues=values, eigenvectors=vectors, zero_threshold=zero_threshold)
