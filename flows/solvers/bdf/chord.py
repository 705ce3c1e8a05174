"""Newton's iteration with a Jacobian and a factorisation kept from step to step.

Our own: `optimistix.Chord` and `diffrax.VeryChord` forget the factorisation at the end of a step, and neither adapts it
to another length of the step.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import equinox.internal as eqxi
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .newton import FADING, System, acceptable, convergence, detach

# A Jacobian costs as many products as the state has components: some more iterations with an old one are cheaper than
# a new one (CVODE allows 3).
MAX_ITERATIONS = 6
# Steps for which a Jacobian serves at most, even where the iteration converges well (CVODE's number).
MAX_AGE = 50
# A factorisation for c serves while the present c is within this share of it (CVODE's share).
MAX_MISMATCH = 0.3

# Lower and upper factors of a matrix in one, and the permutation of its rows.
Factor = tuple[Float[Array, "n n"], Int[Array, " n"]]


class Counts(eqx.Module):
    """The work of the accepted steps.

    Attributes:
        evaluations: number of evaluations of the field.
        jacobians: number of evaluations of its Jacobian.
        factorisations: number of factorisations of $I - cJ$.
    """

    evaluations: Int[Array, ""]
    jacobians: Int[Array, ""]
    factorisations: Int[Array, ""]

    def add(self, evaluations: Any = 0, jacobians: Any = 0, factorisations: Any = 0) -> "Counts":
        """The counts after some more work."""
        return Counts(
            evaluations=self.evaluations + evaluations,
            jacobians=self.jacobians + jacobians,
            factorisations=self.factorisations + factorisations,
        )

    def __str__(self) -> str:
        return (
            f"{self.evaluations} evaluations of the field, {self.jacobians} Jacobians, "
            f"{self.factorisations} factorisations"
        )


class Chord(eqx.Module):
    r"""The factors of a matrix $I - cJ$, from which those for another c follow.

    J itself is not kept: the integration's loop copies all that is kept in every step, and a second matrix would cost
    more than multiplying the factors again when they are needed for another c.

    Attributes:
        factor: the factors of $I - cJ$.
        c: the c that they belong to.
        age: accepted steps since J was evaluated.
        rate: factor by which an iteration reduces the error; 1 if unknown.
        counts: the work of the accepted steps.
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
    zero, scalar = jnp.asarray(0), jnp.zeros((), dtype)
    return Chord(
        factor=(jnp.zeros((size, size), dtype), jnp.zeros(size, jnp.int32)),
        c=scalar,
        age=zero + MAX_AGE,
        rate=scalar + 1,
        counts=Counts(evaluations=zero, jacobians=zero, factorisations=zero),
    )


class _ChordIteration(eqx.Module):
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
    r"""Solves the system; the Jacobian is evaluated again, once, only if it is old or the iteration fails with it.

    The iteration is $d \leftarrow d + 2/(1 + c/c_0) (I - c_0 J)^{-1} r(d)$, with $c_0$, J of the chord.

    Args:
        system: the equation of the step.
        chord: the kept factorisation.
        size: of a correction, in units of the tolerated local error.
        max_iterations: number of iterations with one Jacobian at most.

    Returns:
        d, zero after a failure, a constant of differentiation (see `with_implicit_derivative`); whether the iteration
        converged; the chord to keep.

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
        return detach(_Attempt(it.d, chord, renew=it.stuck, converged=it.converged, failed=it.stuck & before.renew))

    first = _Attempt(jnp.zeros_like(frozen.p), old, renew=old.age >= MAX_AGE, converged=no, failed=no)
    last = lax.while_loop(lambda attempt: ~(attempt.converged | attempt.failed), attempt, first)
    safe = jnp.where(last.converged, last.d, 0)
    chord = eqx.tree_at(lambda chord: chord.age, last.chord, last.chord.age + 1)
    return safe, last.converged, chord


def with_implicit_derivative(system: System, d: Float[Array, " n"]) -> Float[Array, " n"]:
    """The solution d itself, with the derivatives that the implicit function theorem gives the exact solution."""

    def solve_linear(linear: Callable[[Array], Array], right: Array) -> Array:
        del linear
        minus = system.c * system.jacobian(d) - jnp.eye(d.size, dtype=d.dtype)
        return jnp.linalg.solve(minus, right)

    return lax.custom_root(lambda v: system.residual(v), d, lambda _, solution: solution, solve_linear)


def _iterated(
    system: System, chord: Chord, size: Callable[[Array], Array], enough: Float[Array, ""], max_iterations: int
) -> _ChordIteration:
    """The iteration with one chord from d = 0, until it has converged or is stuck."""
    relaxation = 2 / (1 + system.c / chord.c)

    def iterate(it: _ChordIteration) -> _ChordIteration:
        correction = relaxation * _solved(chord.factor, system.residual(it.d))
        length = size(correction)
        first = it.count == 0
        measured, rate = convergence(it.rate, length, it.size, first)
        converged = jnp.minimum(rate, 1) * length <= enough
        left = max_iterations - 1 - it.count
        hopeless = ~first & ((measured >= 1) | (length * measured**left > enough)) | ~jnp.isfinite(length)
        stuck = ~converged & (hopeless | (left == 0))
        return _ChordIteration(
            it.d + correction, size=length, rate=rate, count=it.count + 1, converged=converged, stuck=stuck
        )

    no, zero = jnp.asarray(False), jnp.zeros((), system.p.dtype)
    start = _ChordIteration(
        jnp.zeros_like(system.p), size=zero, rate=chord.rate, count=jnp.asarray(0), converged=no, stuck=no
    )
    return lax.while_loop(lambda it: ~(it.converged | it.stuck), lambda it: detach(iterate(it)), start)


def _renewed(system: System, kept: Chord, renew: Bool[Array, ""]) -> Chord:
    r"""Makes the chord fit the system; with $\rho = c'/c$ the matrix for c' is $(1 - \rho) I + \rho (I - cJ)$.

    Args:
        system: the equation of the step, with c'.
        kept: the chord so far, with c.
        renew: whether to evaluate the Jacobian.

    Returns:
        The chord with a new Jacobian if asked for, and with factors for c' if c was too different.
    """
    changed = renew | (jnp.abs(system.c / kept.c - 1) > MAX_MISMATCH)
    identity = jnp.eye(system.p.size, dtype=system.p.dtype)
    ratio = system.c / kept.c

    def turn(factor: Factor) -> Factor:
        # Each of the two is done only if a member of a batch needs it; under vmap a plain cond would do both.
        unneeded = eqxi.unvmap_all(renew)
        again = lax.cond(unneeded, lambda: identity, lambda: (1 - ratio) * identity + ratio * _multiplied(factor))
        matrix = lax.cond(eqxi.unvmap_any(renew), lambda: jnp.where(renew, new(), again), lambda: again)
        return _factorised(matrix)

    def new() -> Array:
        return identity - system.c * system.jacobian(jnp.zeros_like(system.p))

    # A loop of one turn or none: a conditional would copy what it passes on unchanged.
    start = (changed, kept.factor)
    _, factor = lax.while_loop(lambda pair: pair[0], lambda pair: (jnp.zeros_like(changed), turn(pair[1])), start)
    return Chord(
        factor=factor,
        c=jnp.where(changed, system.c, kept.c),
        age=jnp.where(renew, 0, kept.age),
        rate=jnp.where(changed, 1, kept.rate),
        counts=kept.counts.add(jacobians=renew.astype(int), factorisations=changed.astype(int)),
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
