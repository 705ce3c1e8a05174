"""Newton's iteration with a Jacobian and a factorisation kept from step to step."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import jax.scipy as jsp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .flat import FlatField, Jacobian

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
    r"""A Jacobian J and a factorisation of $I - cJ$.

    - `age`: accepted steps since J was evaluated.
    - `rate`: factor by which an iteration reduces the error; 1 if unknown.
    """

    jacobian: Float[Array, "n n"]
    factor: tuple[Float[Array, "n n"], Int[Array, " n"]]
    c: Float[Array, ""]
    age: Int[Array, ""]
    rate: Float[Array, ""]
    counts: Counts


def no_chord(size: int, dtype: Any) -> Chord:
    """The chord before the first step, too old to be used."""
    empty, zero = jnp.zeros((size, size), dtype), jnp.asarray(0)
    factor = (empty, jnp.zeros(size, jnp.int32))
    scalar = jnp.zeros((), dtype)
    return Chord(empty, factor, scalar, zero + MAX_AGE, scalar + 1, Counts(zero, zero, zero))


class _Iteration(eqx.Module):
    d: Float[Array, " n"]
    size: Float[Array, ""]
    count: Int[Array, ""]
    renew: Bool[Array, ""]
    fresh: Bool[Array, ""]
    converged: Bool[Array, ""]
    failed: Bool[Array, ""]
    chord: Chord


def correct(
    system: System, chord: Chord, size: Callable[[Array], Float[Array, ""]], max_iterations: int
) -> tuple[Float[Array, " n"], Bool[Array, ""], Chord]:
    r"""Solves the system; the Jacobian is evaluated anew, once, only if it is old or the iteration fails with it.

    The iteration is $d \leftarrow d + 2/(1 + c/c_0) (I - c_0 J)^{-1} r(d)$, with $c_0$, J of the chord.

    **Arguments:** `size`: of a correction, in units of the tolerated local error; `max_iterations`: with one Jacobian.
    **Returns:** d, zero after a failure, a constant to differentiation (see `implicit`); whether the iteration
    converged; the chord to keep.

    Source: Hindmarsh et al. (2005), "SUNDIALS", ACM Trans. Math. Softw. 31, section 2.1.
    """
    frozen, old = _detach((system, chord))
    no, zero = jnp.asarray(False), jnp.zeros((), system.p.dtype)
    old = eqx.tree_at(lambda chord: chord.rate, old, old.rate**FADING)
    first = _Iteration(jnp.zeros_like(system.p), zero, jnp.asarray(0), old.age >= MAX_AGE, no, no, no, old)
    # A correction of a few units in the last place is none.
    enough = lax.stop_gradient(jnp.maximum(SHARE, size(4 * jnp.finfo(frozen.p.dtype).eps * frozen.p)))
    last = lax.while_loop(
        lambda it: ~(it.converged | it.failed),
        lambda it: _detach(_iterate(frozen, it, size, enough, max_iterations)),
        first,
    )
    safe = jnp.where(last.converged, last.d, 0)
    chord = eqx.tree_at(lambda chord: chord.age, last.chord, last.chord.age + 1)
    return safe, last.converged, chord


def implicit(system: System, d: Float[Array, " n"]) -> Float[Array, " n"]:
    """d itself, with the derivatives of the exact solution of the system by the implicit function theorem."""

    def solve_linear(linear: Callable, right: Array) -> Array:
        del linear
        minus = system.c * system.jacobian(d) - jnp.eye(d.size, dtype=d.dtype)
        return jnp.linalg.solve(minus, right)

    return lax.custom_root(lambda v: system.residual(v), d, lambda _, solution: solution, solve_linear)


def _iterate(
    system: System, it: _Iteration, size: Callable[[Array], Array], enough: Array, max_iterations: int
) -> _Iteration:
    chord = _renewed(system, it)
    mismatch = system.c / chord.c
    correction = 2 / (1 + mismatch) * jsp.linalg.lu_solve(chord.factor, system.residual(it.d))
    length = size(correction)
    first = it.count == 0
    measured = length / jnp.where(first, 1, it.size)
    rate = jnp.where(first, chord.rate, jnp.maximum(FLOOR * chord.rate, measured))
    converged = jnp.minimum(rate, 1) * length <= enough
    left = max_iterations - 1 - it.count
    hopeless = ~first & ((measured >= 1) | (length * measured**left > enough)) | ~jnp.isfinite(length)
    stuck = ~converged & (hopeless | (left == 0))
    fresh = it.fresh | it.renew
    again = stuck & ~fresh
    chord = eqx.tree_at(lambda chord: (chord.rate, chord.counts), chord, (rate, chord.counts.add(1)))
    return _Iteration(
        jnp.where(again, 0, it.d + correction),
        length,
        jnp.where(again, 0, it.count + 1),
        again,
        fresh,
        converged,
        stuck & fresh,
        chord,
    )


def _renewed(system: System, it: _Iteration) -> Chord:
    """The chord with a new Jacobian if one is asked for, and refactored for c if it was for too different a c."""
    kept = it.chord
    refactor = it.renew | (jnp.abs(system.c / kept.c - 1) > MAX_MISMATCH)
    jacobian = _replace(it.renew, lambda: system.jacobian(jnp.zeros_like(system.p)), kept.jacobian)
    identity = jnp.eye(system.p.size, dtype=system.p.dtype)
    factor = _replace(refactor, lambda: jsp.linalg.lu_factor(identity - system.c * jacobian), kept.factor)
    return Chord(
        jacobian,
        factor,
        jnp.where(refactor, system.c, kept.c),
        jnp.where(it.renew, 0, kept.age),
        jnp.where(refactor, 1, kept.rate),
        kept.counts.add(jacobians=it.renew.astype(int), factorisations=refactor.astype(int)),
    )


def _replace(needed: Bool[Array, ""], compute: Callable[[], Any], kept: Any) -> Any:
    # In a batch the work is done when any member needs it, where a plain cond would always do it.
    def new() -> Any:
        return jax.tree.map(lambda a, b: jnp.where(needed, a, b), compute(), kept)

    return lax.cond(eqxi.unvmap_any(needed), new, lambda: kept)


def _detach(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: lax.stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf, tree)
