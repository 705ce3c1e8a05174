"""The spectrum of a Hessian from Hessian–vector products, for any number of parameters: both ends, and the density."""

import warnings
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np
import scipy
from jaxtyping import Array, Bool, Float

from ...flows import Landscape
from .parts import HessianOperator, Part, hessian_products

# Eigenpairs count as converged with a residual below this share of the largest |λ| met.
CONVERGED_RESIDUAL = 1e-9
# A Lanczos coefficient below this share of the largest ends the Krylov space: what follows is rounding.
LANCZOS_BREAKDOWN = 1e-12


class Eigenpairs(eqx.Module):
    r"""Some eigenpairs of a symmetric matrix H.

    Attributes:
        values: λ, ascending.
        vectors: q, orthonormal columns.
        residuals: $\|Hq - \lambda q\|$ of each; an eigenvalue lies within that distance of the value.
        converged: of each, whether the residual is below 1e-9 of the spectral radius (bool).
    """

    values: Float[np.ndarray, " k"]
    vectors: Float[np.ndarray, "n k"]
    residuals: Float[np.ndarray, " k"]
    converged: Bool[np.ndarray, " k"]

    def __str__(self) -> str:
        done = f"{int(np.sum(self.converged))} of {len(self.values)} converged"
        return (
            f"{len(self.values)} eigenpairs, λ from {self.values[0]:.6g} to {self.values[-1]:.6g}\n"
            f"  {done}, largest residual {np.max(self.residuals):.2g}"
        )


class SpectralDensity(eqx.Module):
    r"""A spectrum as weighted nodes, one quadrature rule per random probe.

    Attributes:
        nodes: estimated eigenvalues of each probe.
        weights: of the nodes; those of a probe sum to one.
        size: number n of eigenvalues.
    """

    nodes: Float[np.ndarray, "probes depth"]
    weights: Float[np.ndarray, "probes depth"]
    size: int

    def count(self, lower: float, upper: float) -> tuple[float, float]:
        """The number of eigenvalues in an interval, and its standard error.

        Args:
            lower: lower end, which belongs to the interval.
            upper: upper end, which does not.

        Returns:
            The mean over the probes, and its standard error.
        """
        return self._mean((self.nodes >= lower) & (self.nodes < upper))

    def trace(self) -> tuple[float, float]:
        """The sum of all eigenvalues, and its standard error."""
        return self._mean(self.nodes)

    def _mean(self, values: np.ndarray) -> tuple[float, float]:
        sums = self.size * np.sum(self.weights * values, axis=1)
        return float(sums.mean()), float(sums.std(ddof=1) / np.sqrt(len(sums)))

    def __str__(self) -> str:
        used, (trace, error) = self.nodes[self.weights > 0], self.trace()
        return (
            f"density of {self.size} eigenvalues from {len(self.nodes)} random probes\n"
            f"  nodes from {np.min(used):.6g} to {np.max(used):.6g}, trace {trace:.6g} ± {error:.2g}"
        )


def extreme_eigenpairs(
    landscape: Landscape,
    *,
    theta: Float[Any, " n"] | None = None,
    end: Literal["lowest", "highest"] = "lowest",
    part: Part = "whole",
    count: int = 6,
    max_iterations: int = 500,
    seed: int = 0,
) -> Eigenpairs:
    r"""The lowest or highest eigenvalues of the Hessian by a block method, from Hessian–vector products alone.

    A block of vectors resolves the multiplicity of an eigenvalue up to the block's own size. An eigenvalue of larger
    multiplicity fills the block, and its vectors are a sample of the eigenspace.

    Args:
        landscape: loss and data.
        theta: θ, by default the landscape's own.
        end: which end of the spectrum.
        part: of the Hessian, as in `hessian_products`.
        count: number of pairs, at most a fifth of the parameters, as the method needs room for three blocks.
        max_iterations: of the method; 500 suffice for relative gaps down to about 1e-4.
        seed: of the random initial block.

    Returns:
        The eigenpairs, with their residuals; those that have not converged say so.

    Raises:
        ValueError: for more pairs than a fifth of the parameters, for which there is `spectrum`.

    Source: Knyazev (2001), "Toward the optimal preconditioned eigensolver" (LOBPCG), as in SciPy.
    """
    products, size = hessian_products(landscape, part, theta), landscape.theta.size
    if not 1 <= count <= size // 5:
        raise ValueError(f"count must be between 1 and a fifth of the {size} parameters; got {count}.")
    start = np.random.default_rng(seed).standard_normal((size, count))
    radius = float(np.linalg.norm(products(start)) / np.linalg.norm(start))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the residuals tell what was reached
        values, vectors = scipy.sparse.linalg.lobpcg(
            products, start, largest=end == "highest", tol=CONVERGED_RESIDUAL / 10 * radius, maxiter=max_iterations
        )[:2]
    order = np.argsort(values)
    values, vectors = values[order], vectors[:, order]
    residuals = np.linalg.norm(products(vectors) - vectors * values, axis=0)
    scale = max(radius, float(np.max(np.abs(values))))
    converged = residuals <= CONVERGED_RESIDUAL * scale
    return Eigenpairs(values=values, vectors=vectors, residuals=residuals, converged=converged)


@eqx.filter_jit
def _tridiagonals(operator: HessianOperator, probes: Float[Array, "p n"], depth: int) -> Float[Array, "p depth depth"]:
    from matfree.decomp import tridiag_sym

    product = operator.product()
    decompose = tridiag_sym(depth, custom_vjp=False)
    return jax.lax.map(lambda probe: decompose(product, probe)[1], probes)


def spectral_density(
    landscape: Landscape,
    *,
    theta: Float[Any, " n"] | None = None,
    part: Part = "whole",
    probes: int = 8,
    depth: int = 64,
    seed: int = 0,
) -> SpectralDensity:
    r"""The density of the Hessian's eigenvalues by stochastic Lanczos quadrature.

    From each random unit vector `depth` products give the Gauss rule of its spectral measure; the mean of these rules
    is an unbiased estimate of the density's moments up to order 2·`depth` − 1. With few distinct eigenvalues the Krylov
    space ends early, and the rule is then exact for that vector.

    Args:
        landscape: loss and data.
        theta: θ, by default the landscape's own.
        part: of the Hessian, as in `hessian_products`.
        probes: number of random vectors, at least 2; the standard error falls with its square root.
        depth: products for each vector, at least 2; they resolve about as many clusters of eigenvalues.
        seed: of the random vectors.

    Returns:
        The density as weighted nodes, with counts and trace.

    Raises:
        ValueError: for fewer than two probes or products.

    Source: Ubaru, Chen & Saad (2017), "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature".
    """
    if probes < 2 or depth < 2:
        raise ValueError(f"probes and depth must be at least 2; got {probes} and {depth}.")
    operator = HessianOperator(landscape, theta, part)
    size = operator.theta.size
    depth = min(depth, size)
    vectors = np.random.default_rng(seed).standard_normal((probes, size)).astype(operator.theta.dtype)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rules = [_rule(matrix) for matrix in np.asarray(_tridiagonals(operator, vectors, depth))]
    nodes, weights = (
        np.stack([np.pad(part, (0, depth - len(part))) for part in parts]) for parts in zip(*rules, strict=True)
    )
    return SpectralDensity(nodes=nodes, weights=weights, size=size)


def _rule(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the Gauss rule of a tridiagonal matrix, cut where its Krylov space ended."""
    beside = np.abs(np.diagonal(matrix, 1))
    known = np.isfinite(beside)
    ended = ~known | (beside <= LANCZOS_BREAKDOWN * np.max(np.abs(matrix[np.isfinite(matrix)]), initial=0.0))
    length = int(np.argmax(ended)) + 1 if np.any(ended) else len(matrix)
    nodes, vectors = np.linalg.eigh(matrix[:length, :length])
    return nodes, vectors[0] ** 2
