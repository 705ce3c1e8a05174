"""Newton's iteration with a Jacobian and a factorisation kept from step to step."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ..flat_field import FlatField, Jacobian

# A Jacobian costs as many products as the state has components: patience with an old one pays (CVODE has 3).
MAX_ITERATIONS = 6
# The iteration stops when its estimated remaining error is this share of the tolerated local error. With a tenth, as in
# CVODE, an evaluation is saved in every third step, but the highest differences, which choose the order, are noisy:
# a fifth to a third more steps.
SHARE = 0.03
# A Jacobian serves so many steps, even where the iteration converges well (CVODE's number).
MAX_AGE = 50
# A factorisation for c serves while the present c is within this share of it (CVODE's share).
MAX_MISMATCH = 0.3
# The rate of convergence is measured only where a second iteration is needed: an old measurement counts for less,
# rate ← rate^FADING in each step, so that 1/10 has become 1/2 after two dozen steps.
FADING = 0.95
# A measured rate is believed at most to this share of the former (CVODE's share).
FLOOR = 0.3

# Lower and upper factors of a matrix in one, and the permutation of its rows.
Factor = tuple[Float[Array, "n n"], Int[Array, " n"]]


class System(eqx.Module):
    """The equation $d + ψ = c f(t, p + d)$ of an implicit step for the correction d to a prediction p."""

    field: FlatField
    t: Any
    p: Float[Array, " n"]
    psi: Float[Array, " n"]
    c: Float[Array, ""]
    given: Jacobian | None

    def residual(self, d: Float[Array, " n"]) -> Float[Array, " n"]:
        """What is missing in the equation at d."""
        return self.c * self.field(self.t, self.p + d) - self.psi - d

    def jacobian(self, d: Float[Array, " n"]) -> Float[Array, "n n"]:
        """∂f/∂y at p + d."""
        return self.field.jacobian(self.t, self.p + d, self.given)


class Counts(eqx.Module):
    """Evaluations of the field, evaluations of its Jacobian, and factorisations, in the accepted steps."""

    evaluations: Int[Array, ""]
    jacobians: Int[Array, ""]
    factorisations: Int[Array, ""]

    def add(self, evaluations: Any = 0, jacobians: Any = 0, factorisations: Any = 0) -> "Counts":
        """The counts after some more work."""
        return Counts(self.evaluations + evaluations, self.jacobians + jacobians, self.factorisations + factorisations)


class Chord(eqx.Module):
    r"""The factors of a matrix $I - cJ$, from which those for another c can be had.

    J itself is not kept: the integration's loop moves all that is kept in every step, and a second matrix would cost
    more than multiplying the factors again when they are needed for another c.

    - `factor`: of $I - cJ$.
    - `age`: accepted steps since J was evaluated.
    - `rate`: factor by which an iteration reduces the error; 1 if unknown.
    """

    factor: Factor
    c: Float[Array, ""]
    age: Int[Array, ""]
    rate: Float[Array, ""]
    counts: Counts

    def restarted(self, restart: Bool[Array, ""]) -> "Chord":
        """Too old to be used where `restart`."""
        return eqx.tree_at(lambda chord: chord.age, self, jnp.where(restart, MAX_AGE, self.age))


def no_chord(size: int, dtype: Any) -> Chord:
    """The chord before the first step, too old to be used."""
    factor = (jnp.zeros((size, size), dtype), jnp.zeros(size, jnp.int32))
    zero, scalar = jnp.asarray(0), jnp.zeros((), dtype)
    return Chord(factor, scalar, zero + MAX_AGE, scalar + 1, Counts(zero, zero, zero))


class _Iteration(eqx.Module):
    d: Float[Array, " n"]
    size: Float[Array, ""]
    rate: Float[Array, ""]
    count: Int[Array, ""]
    converged: Bool[Array, ""]
    stuck: Bool[Array, ""]


class _Attempt(eqx.Module):
    d: Float[Array, " n"]
    chord: Chord
    renew: Bool[Array, ""]
    converged: Bool[Array, ""]
    failed: Bool[Array, ""]


def correct(
    system: System, chord: Chord, size: Callable[[Array], Float[Array, ""]], max_iterations: int
) -> tuple[Float[Array, " n"], Bool[Array, ""], Chord]:
    r"""Solves the system; the Jacobian is evaluated anew, once, only if it is old or the iteration fails with it.

    The iteration is $d \leftarrow d + 2/(1 + c/c_0) (I - c_0 J)^{-1} r(d)$, with $c_0$, J of the chord.

    **Arguments:** `size`: of a correction, in units of the tolerated local error; `max_iterations`: with one Jacobian.
    **Returns:** d, zero after a failure, a constant to differentiation (see `with_implicit_derivative`);
    whether the iteration converged; the chord to keep.

    Source: Hindmarsh et al. (2005), "SUNDIALS", ACM Trans. Math. Softw. 31, section 2.1.
    """
    frozen, old = detach((system, chord))
    no = jnp.asarray(False)
    old = eqx.tree_at(lambda chord: chord.rate, old, old.rate**FADING)
    enough = acceptable(frozen, size)

    def attempt(before: _Attempt) -> _Attempt:
        chord = _renewed(frozen, before.chord, before.renew)
        it = _iterated(frozen, chord, size, enough, max_iterations)
        counts = chord.counts.add(it.count)
        chord = eqx.tree_at(lambda chord: (chord.rate, chord.counts), chord, (it.rate, counts))
        return detach(_Attempt(it.d, chord, it.stuck, it.converged, it.stuck & before.renew))

    first = _Attempt(jnp.zeros_like(frozen.p), old, old.age >= MAX_AGE, no, no)
    last = lax.while_loop(lambda attempt: ~(attempt.converged | attempt.failed), attempt, first)
    safe = jnp.where(last.converged, last.d, 0)
    chord = eqx.tree_at(lambda chord: chord.age, last.chord, last.chord.age + 1)
    return safe, last.converged, chord


def acceptable(system: System, size: Callable[[Array], Array]) -> Float[Array, ""]:
    """The size of the error that an iteration may leave."""
    # A correction of a few units in the last place is none.
    return lax.stop_gradient(jnp.maximum(SHARE, size(4 * jnp.finfo(system.p.dtype).eps * system.p)))


def convergence(rate: Array, length: Array, before: Array, first: Array) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The ratio of two corrections, and the rate of convergence to be believed: the old one after the first."""
    measured = length / jnp.where(first, 1, before)
    return measured, jnp.where(first, rate, jnp.maximum(FLOOR * rate, measured))


def with_implicit_derivative(system: System, d: Float[Array, " n"]) -> Float[Array, " n"]:
    """d itself, with the derivatives of the exact solution of the system by the implicit function theorem."""

    def solve_linear(linear: Callable, right: Array) -> Array:
        del linear
        minus = system.c * system.jacobian(d) - jnp.eye(d.size, dtype=d.dtype)
        return jnp.linalg.solve(minus, right)

    return lax.custom_root(lambda v: system.residual(v), d, lambda _, solution: solution, solve_linear)


def _iterated(
    system: System, chord: Chord, size: Callable[[Array], Array], enough: Array, max_iterations: int
) -> _Iteration:
    """The iteration with one chord from d = 0, until it has converged or is stuck."""
    relaxation = 2 / (1 + system.c / chord.c)

    def iterate(it: _Iteration) -> _Iteration:
        correction = relaxation * _solved(chord.factor, system.residual(it.d))
        length = size(correction)
        first = it.count == 0
        measured, rate = convergence(it.rate, length, it.size, first)
        converged = jnp.minimum(rate, 1) * length <= enough
        left = max_iterations - 1 - it.count
        hopeless = ~first & ((measured >= 1) | (length * measured**left > enough)) | ~jnp.isfinite(length)
        return _Iteration(
            it.d + correction, length, rate, it.count + 1, converged, ~converged & (hopeless | (left == 0))
        )

    no, zero = jnp.asarray(False), jnp.zeros((), system.p.dtype)
    start = _Iteration(jnp.zeros_like(system.p), zero, chord.rate, jnp.asarray(0), no, no)
    return lax.while_loop(lambda it: ~(it.converged | it.stuck), lambda it: detach(iterate(it)), start)


def _renewed(system: System, kept: Chord, renew: Bool[Array, ""]) -> Chord:
    r"""The chord with a new Jacobian if one is asked for, and for another c if it was for too different a one.

    With $\rho = c'/c$ the matrix for c' is $(1 - \rho) I + \rho (I - cJ)$.
    """
    changed = renew | (jnp.abs(system.c / kept.c - 1) > MAX_MISMATCH)
    identity = jnp.eye(system.p.size, dtype=system.p.dtype)
    ratio = system.c / kept.c

    def turn(factor: Factor) -> Factor:
        # Each of the two is done only if any member of a batch needs it; a plain cond would always do it.
        unneeded = eqxi.unvmap_all(renew)
        again = lax.cond(unneeded, lambda: identity, lambda: (1 - ratio) * identity + ratio * _multiplied(factor))
        matrix = lax.cond(eqxi.unvmap_any(renew), lambda: jnp.where(renew, new(), again), lambda: again)
        return _factorised(matrix)

    def new() -> Array:
        return identity - system.c * system.jacobian(jnp.zeros_like(system.p))

    # A loop of one turn or none: what a conditional passes on unchanged would be copied.
    start = (changed, kept.factor)
    _, factor = lax.while_loop(lambda pair: pair[0], lambda pair: (jnp.zeros_like(changed), turn(pair[1])), start)
    return Chord(
        factor,
        jnp.where(changed, system.c, kept.c),
        jnp.where(renew, 0, kept.age),
        jnp.where(changed, 1, kept.rate),
        kept.counts.add(jacobians=renew.astype(int), factorisations=changed.astype(int)),
    )


def _factorised(matrix: Float[Array, "n n"]) -> Factor:
    factors, _, permutation = lax.linalg.lu(matrix)
    return factors, permutation


def _multiplied(factor: Factor) -> Float[Array, "n n"]:
    """The matrix whose factors are given."""
    factors, permutation = factor
    lower = jnp.tril(factors, -1) + jnp.eye(len(factors), dtype=factors.dtype)
    rows = jnp.matmul(lower, jnp.triu(factors), precision=lax.Precision.HIGHEST)
    return jnp.zeros_like(rows).at[permutation].set(rows)


def _solved(factor: Factor, right: Float[Array, " n"]) -> Float[Array, " n"]:
    """The solution of a system whose matrix has these factors."""
    factors, x = factor[0], right[factor[1]][:, None]
    x = lax.linalg.triangular_solve(factors, x, left_side=True, lower=True, unit_diagonal=True)
    return lax.linalg.triangular_solve(factors, x, left_side=True)[:, 0]


def detach(tree: Any) -> Any:
    """The tree, constant to differentiation."""
    return jax.tree.map(lambda leaf: lax.stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf, tree)
