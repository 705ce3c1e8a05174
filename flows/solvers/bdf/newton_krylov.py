"""Newton's iteration without a matrix: conjugate gradients on products with a symmetric Jacobian.

Our own conjugate gradients: those of Lineax do not report that the matrix is indefinite, which is how a step that is
too long for a growing solution is recognised.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .newton import FADING, System, acceptable, convergence, detach

# The residual of a linear system may be this share of the error that Newton's iteration may leave.
LINEAR_SHARE = 1.0
# Products for one linear system after which the step has failed: a shorter one has a better conditioned system.
MAX_PRODUCTS = 100
# Linear systems of derivatives of a step are solved to this share, or as far as single precision allows.
DERIVATIVE_SHARE = 1e-10


class NewtonKrylov(eqx.Module):
    """What Newton's method remembers between steps, and the work of the accepted ones.

    Attributes:
        rate: factor by which an iteration reduces the error; 1 if unknown.
        evaluations: number of evaluations of the field.
        products: number of products with its Jacobian.
    """

    rate: Float[Array, ""]
    evaluations: Int[Array, ""]
    products: Int[Array, ""]

    def restarted(self, restart: Bool[Array, ""]) -> "NewtonKrylov":
        """Without memory of former steps where `restart`."""
        return eqx.tree_at(lambda newton: newton.rate, self, jnp.where(restart, 1, self.rate))

    def __str__(self) -> str:
        return f"{self.evaluations} evaluations of the field, {self.products} products with its Jacobian"


def no_memory(dtype: Any) -> NewtonKrylov:
    """The memory before the first step."""
    return NewtonKrylov(rate=jnp.ones((), dtype), evaluations=jnp.asarray(0), products=jnp.asarray(0))


class _NewtonIteration(eqx.Module):
    d: Float[Array, " n"]
    size: Float[Array, ""]
    count: Int[Array, ""]
    converged: Bool[Array, ""]
    stuck: Bool[Array, ""]
    newton: NewtonKrylov


def correct_without_matrix(
    system: System, newton: NewtonKrylov, size: Callable[[Array], Array], max_iterations: int, quadratures: int
) -> tuple[Float[Array, " n"], Bool[Array, ""], NewtonKrylov]:
    r"""Solves $d + ψ = c f(t, p + d)$ with the Jacobian J at p: $d \leftarrow d + (I - cJ)^{-1} r(d)$.

    $I - cJ$ must be positive definite on the Krylov space, as it is for accurate steps; it is not where the solution
    grows by e or more within a step. The step has failed if it is not.

    Args:
        system: the equation of the step.
        newton: what is remembered from former steps.
        size: of a correction, in units of the tolerated local error.
        max_iterations: number of Newton's iterations at most.
        quadratures: number of trailing components that do not enter the vector field (pure quadratures).

    Returns:
        d, zero after a failure, a constant of differentiation; whether the iteration converged; what to remember.

    Source: Brown & Hindmarsh (1989), "Reduced storage matrix methods in stiff ODE systems", Appl. Math. Comput. 31.
    """
    frozen, newton = detach((system, newton))
    newton = eqx.tree_at(lambda newton: newton.rate, newton, newton.rate**FADING)
    enough = acceptable(frozen, size)
    value, apply = jax.linearize(lambda x: frozen.field(frozen.t, x), frozen.p)
    start = frozen.c * value - frozen.psi

    def iterate(it: _NewtonIteration) -> _NewtonIteration:
        first = it.count == 0
        right = lax.cond(first, lambda: start, lambda: frozen.residual(it.d))
        products, correction, solved = _conjugate_gradients(
            apply, frozen.c, right, quadratures, lambda v: size(v) <= LINEAR_SHARE * enough
        )
        length = size(correction)
        measured, rate = convergence(it.newton.rate, length, it.size, first)
        converged = solved & (jnp.minimum(rate, 1) * length <= enough)
        hopeless = (~first & (measured >= 1)) | ~jnp.isfinite(length) | ~solved
        stuck = ~converged & (hopeless | (it.count + 1 == max_iterations))
        work = NewtonKrylov(rate=rate, evaluations=it.newton.evaluations + 1, products=it.newton.products + products)
        return _NewtonIteration(
            it.d + correction, size=length, count=it.count + 1, converged=converged, stuck=stuck, newton=work
        )

    no = jnp.asarray(False)
    zero = jnp.zeros((), frozen.p.dtype)
    begin = _NewtonIteration(
        jnp.zeros_like(frozen.p), size=zero, count=jnp.asarray(0), converged=no, stuck=no, newton=newton
    )
    last = lax.while_loop(lambda it: ~(it.converged | it.stuck), lambda it: detach(iterate(it)), begin)
    return jnp.where(last.converged, last.d, 0), last.converged, last.newton


class _Conjugate(eqx.Module):
    x: Float[Array, " m"]
    residual: Float[Array, " m"]
    direction: Float[Array, " m"]
    square: Float[Array, ""]
    count: Int[Array, ""]
    definite: Bool[Array, ""]
    small: Bool[Array, ""]


def _conjugate_gradients(
    apply: Callable[[Array], Array], c: Any, right: Array, quadratures: int, is_small: Callable[[Array], Array]
) -> tuple[Int[Array, ""], Float[Array, " n"], Bool[Array, ""]]:
    """Number of products, solution of (I - cJ) x = r, and whether it was found."""
    number = right.size - quadratures
    padded = lambda v: jnp.zeros_like(right).at[:number].set(v)  # noqa: E731

    def step(cg: _Conjugate) -> _Conjugate:
        image = cg.direction - c * apply(padded(cg.direction))[:number]
        curvature = cg.direction @ image
        definite = curvature > 0
        length = cg.square / jnp.where(definite, curvature, 1)
        residual = cg.residual - length * image
        square = residual @ residual
        direction = residual + square / cg.square * cg.direction
        x = cg.x + length * cg.direction
        return _Conjugate(
            x, residual, direction, square, count=cg.count + 1, definite=definite, small=is_small(padded(residual))
        )

    main = right[:number]
    start = _Conjugate(
        x=jnp.zeros_like(main),
        residual=main,
        direction=main,
        square=main @ main,
        count=jnp.asarray(0),
        definite=jnp.asarray(True),
        small=is_small(padded(main)),
    )
    end = lax.while_loop(lambda cg: cg.definite & ~cg.small & (cg.count < MAX_PRODUCTS), step, start)
    x = padded(end.x)
    if quadratures:
        # They do not enter the field: their rows follow from the rest of the solution.
        x = x.at[number:].set(right[number:] + c * apply(x)[number:])
    return end.count + (quadratures > 0), x, end.definite & end.small


def with_implicit_derivative_matrix_free(system: System, d: Float[Array, " n"]) -> Float[Array, " n"]:
    """The solution d itself, with the derivatives that the implicit function theorem gives the exact solution."""
    tolerance = max(DERIVATIVE_SHARE, 10 * float(jnp.finfo(d.dtype).eps))

    # Not Lineax's, which within `jax.shard_map` takes the same vector for another one (lineax 0.1.1, jax 0.10).
    def solve_linear(linear: Callable[[Array], Array], right: Array) -> Array:
        # Called within, as JAX's GMRES alone cannot be transposed: its tolerance depends on the right-hand side.
        solve = lambda apply, b: jax.scipy.sparse.linalg.gmres(apply, b, tol=tolerance, restart=min(20, d.size))[0]  # noqa: E731
        return lax.custom_linear_solve(linear, right, solve, transpose_solve=solve)

    return lax.custom_root(lambda v: system.residual(v), d, lambda _, solution: solution, solve_linear)
