"""Newton's iteration without a matrix: conjugate gradients on products with a symmetric Jacobian."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .chord import FADING, System, acceptable, convergence, detach

# The linear systems are solved until what is left is this share of what Newton's iteration may leave.
LINEAR_SHARE = 1.0
# Products for one linear system after which the step has failed: a shorter one has a better conditioned system.
MAX_PRODUCTS = 100
# Linear systems of derivatives of a step are solved to this share, or as far as single precision allows.
DERIVATIVE_SHARE = 1e-10


class NewtonKrylov(eqx.Module):
    """What is remembered between steps, and the work of the accepted ones.

    - `rate`: factor by which an iteration of Newton's method reduces the error; 1 if unknown.
    - `evaluations`: of the field, `products`: with its Jacobian.
    """

    rate: Float[Array, ""]
    evaluations: Int[Array, ""]
    products: Int[Array, ""]

    def restarted(self, restart: Bool[Array, ""]) -> "NewtonKrylov":
        """Without memory of former steps where `restart`."""
        return eqx.tree_at(lambda newton: newton.rate, self, jnp.where(restart, 1, self.rate))


def no_memory(dtype: Any) -> NewtonKrylov:
    """The memory before the first step."""
    return NewtonKrylov(jnp.ones((), dtype), jnp.asarray(0), jnp.asarray(0))


class _Iteration(eqx.Module):
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

    $I - cJ$ must be positive definite on what is met of it, as it is where a step is accurate: growth by e and more
    within one is not. Otherwise the step has failed.

    **Arguments:** `size`: of a correction, in units of the tolerated local error; `max_iterations`: of Newton's method;
    `quadratures`: number of last components on which f does not depend.
    **Returns:** d, zero after a failure, a constant to differentiation; whether the iteration converged; the memory.

    Source: Brown & Hindmarsh (1989), "Reduced storage matrix methods in stiff ODE systems", Appl. Math. Comput. 31.
    """
    frozen, newton = detach((system, newton))
    newton = eqx.tree_at(lambda newton: newton.rate, newton, newton.rate**FADING)
    enough = acceptable(frozen, size)
    value, apply = jax.linearize(lambda x: frozen.field(frozen.t, x), frozen.p)
    start = frozen.c * value - frozen.psi

    def iterate(it: _Iteration) -> _Iteration:
        first = it.count == 0
        right = lax.cond(first, lambda: start, lambda: frozen.residual(it.d))
        products, correction, solved = _solved(
            apply, frozen.c, right, quadratures, lambda v: size(v) <= LINEAR_SHARE * enough
        )
        length = size(correction)
        measured, rate = convergence(it.newton.rate, length, it.size, first)
        converged = solved & (jnp.minimum(rate, 1) * length <= enough)
        hopeless = (~first & (measured >= 1)) | ~jnp.isfinite(length) | ~solved
        stuck = ~converged & (hopeless | (it.count + 1 == max_iterations))
        work = NewtonKrylov(rate, it.newton.evaluations + 1, it.newton.products + products)
        return _Iteration(it.d + correction, length, it.count + 1, converged, stuck, work)

    no = jnp.asarray(False)
    begin = _Iteration(jnp.zeros_like(frozen.p), jnp.zeros((), frozen.p.dtype), jnp.asarray(0), no, no, newton)
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


def _solved(
    apply: Callable[[Array], Array], c: Any, right: Array, quadratures: int, is_small: Callable[[Array], Array]
) -> tuple[Int[Array, ""], Float[Array, " n"], Bool[Array, ""]]:
    """Number of products, solution of (I - cJ) x = r, and whether it was found; by conjugate gradients."""
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
        return _Conjugate(x, residual, direction, square, cg.count + 1, definite, is_small(padded(residual)))

    main = right[:number]
    start = _Conjugate(
        jnp.zeros_like(main), main, main, main @ main, jnp.asarray(0), jnp.asarray(True), is_small(padded(main))
    )
    end = lax.while_loop(lambda cg: cg.definite & ~cg.small & (cg.count < MAX_PRODUCTS), step, start)
    x = padded(end.x)
    if quadratures:
        # They do not feed back: their rows follow from the rest of the solution.
        x = x.at[number:].set(right[number:] + c * apply(x)[number:])
    return end.count + (quadratures > 0), x, end.definite & end.small


def with_implicit_derivative_matrix_free(system: System, d: Float[Array, " n"]) -> Float[Array, " n"]:
    """d itself, with the derivatives of the exact solution of the system by the implicit function theorem."""
    tolerance = max(DERIVATIVE_SHARE, 10 * float(jnp.finfo(d.dtype).eps))

    def solve_linear(linear: Callable, right: Array) -> Array:
        operator = lx.FunctionLinearOperator(linear, jax.eval_shape(lambda: right))
        return lx.linear_solve(operator, right, lx.GMRES(tolerance, 0.0, restart=min(20, d.size))).value

    return lax.custom_root(lambda v: system.residual(v), d, lambda _, solution: solution, solve_linear)
