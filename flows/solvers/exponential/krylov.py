"""Exponential Rosenbrock methods without a matrix: Jacobian–vector products and Lanczos vectors."""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from diffrax import AbstractLocalInterpolation
from jaxtyping import Array, Int

from ..flat_field import check_quadratures, flat_field
from .lanczos import KrylovProducts, lanczos
from .rosenbrock import TABLEAUS, ExponentialInterpolation, Linear, check_order, exponential_step


class Accuracy(eqx.Module):
    """What counts as a small error: the tolerances and the norm of the step-size controller."""

    rtol: Any
    atol: Any
    norm: Callable[[Any], Any]


class KrylovState(eqx.Module):
    """Work of the accepted steps: evaluations of the field, and products with its Jacobian."""

    evaluations: Int[Array, ""]
    products: Int[Array, ""]


class KrylovRosenbrock(dfx.AbstractImplicitSolver, dfx.AbstractAdaptiveSolver):
    r"""Exponential Rosenbrock method of order 4 or 5 for symmetric Jacobians of any size.

    The same methods as `ExponentialRosenbrock`; each $\varphi_k(hJ)b$ is approximated in the Krylov space of J and b,
    grown until its error is a small share of what the step-size controller allows. Hessians of networks have few
    eigenvalues apart from a cluster near zero, and few vectors then suffice. Where `max_vectors` do not, the remaining
    error is added to the step's, so that the controller shortens it. Its work is in the solver state
    (`SaveAt(solver_state=True)`).

    - `number`: the order, 4 or 5.
    - `quadratures`: the last components of the ravelled state, so many, do not feed back into the field; the rest of
      the Jacobian must be symmetric.
    - `max_vectors`: the most Krylov vectors for one product; memory of so many states.
    - `root_finder`: `rtol`, `atol` and `norm` of the approximations, by default those of the step-size controller (the
      field's name is Diffrax's; no root is sought).

    Source: as `ExponentialRosenbrock`; Hochbruck, Lubich & Selhofer (1998), "Exponential integrators for large systems
    of differential equations", SIAM J. Sci. Comput. 19.
    """

    number: int = 5
    quadratures: int = 0
    max_vectors: int = 64
    root_finder: Any = dfx.with_stepsize_controller_tols(Accuracy)()  # pyright: ignore

    term_structure: ClassVar = dfx.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., AbstractLocalInterpolation]] = ExponentialInterpolation

    def __check_init__(self) -> None:
        check_order(self.number)
        if self.max_vectors < 2:
            raise ValueError(f"max_vectors must be at least 2; got {self.max_vectors}.")

    @property
    def root_find_max_steps(self) -> int:  # pyright: ignore
        """Diffrax's name for `max_vectors`."""
        return self.max_vectors

    def order(self, terms: Any) -> int:
        return self.number

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> KrylovState:
        check_quadratures(self.quadratures, flat_field(terms, y0, args)[1].size)
        return KrylovState(jnp.asarray(0), jnp.asarray(0))

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: KrylovState, made_jump: Any) -> Any:
        field, u = flat_field(terms, y0, args)
        h = jnp.asarray(t1 - t0, u.dtype)
        _, apply = jax.linearize(lambda x: field(t0, x), u)
        accuracy, size = self.root_finder, u.size - self.quadratures
        unit = jax.tree.map(lambda y: accuracy.atol + accuracy.rtol * jnp.abs(y), y0)
        products = jnp.asarray(0)

        def ready(b: Array, lowest: int, gain: Any) -> tuple[Any, Array]:
            nonlocal products
            measure = lambda error: accuracy.norm(jax.tree.map(jnp.divide, field.unravel(gain * error), unit))  # noqa: E731
            basis, error, count = lanczos(apply, b, size, min(self.max_vectors, size), h, lowest, measure)
            products = products + count
            return basis, gain * error

        tableau = TABLEAUS[self.number]
        start = (t0, u, *field.with_time_derivative(t0, u))
        end, error, dense = exponential_step(tableau, field, Linear(KrylovProducts(), ready, apply), start, h)
        evaluated = len(tableau.nodes) + (tableau.nodes[-1] < 1)  # each with a product
        state = KrylovState(solver_state.evaluations + 1 + evaluated, solver_state.products + products + evaluated)
        return field.unravel(end), field.unravel(error), {"y0": y0, **dense}, state, dfx.RESULTS.successful
