"""Exponential Rosenbrock methods without a matrix: Jacobian–vector products and Lanczos vectors."""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..flat_field import FlatField, flat_field
from ..flat_solver import FlatSolver
from ..interpolation import StepInterpolation
from ..tolerances import CONTROLLER_TOLERANCES
from .lanczos import KrylovProducts, lanczos
from .rosenbrock import ExponentialInterpolation, Linear, exponential_step
from .tableaus import tableau_of_order


class KrylovState(eqx.Module):
    """The work of the accepted steps.

    Attributes:
        evaluations: number of evaluations of the field.
        products: number of products with its Jacobian.
    """

    evaluations: Int[Array, ""]
    products: Int[Array, ""]

    def __str__(self) -> str:
        return f"{self.evaluations} evaluations of the field, {self.products} products with its Jacobian"


class KrylovRosenbrock(dfx.AbstractImplicitSolver[Any], FlatSolver):
    r"""Exponential Rosenbrock method of order 4 or 5 for symmetric Jacobians of any size.

    The same methods as `ExponentialRosenbrock`; each $\varphi_k(hJ)b$ is approximated in the Krylov space of J and b,
    grown until its error is a small share of what the step-size controller allows. Hessians of networks have few
    eigenvalues outside a cluster near zero, and few vectors then suffice. Where `max_vectors` do not, the remaining
    error is added to the step's, so that the controller shortens it. Its work is in the solver state
    (`SaveAt(solver_state=True)`).

    Args:
        order: the order, 4 or 5.
        quadratures: number of trailing components that do not enter the vector field (pure quadratures); the rest of
            the Jacobian must be symmetric.
        max_vectors: number of Krylov vectors for one product at most; the memory is that of as many states.
        root_finder: the `Tolerances` of the approximations, by default those of the step-size controller (the name is
            Diffrax's; no root is sought).

    Raises:
        ValueError: when there is no method of that order, or `max_vectors` is below 2.

    Source: as `ExponentialRosenbrock`; Hochbruck, Lubich & Selhofer (1998), "Exponential integrators for large systems
    of differential equations", SIAM J. Sci. Comput. 19.
    """

    # Diffrax's solvers have a method `order`.
    _order: int
    quadratures: int
    max_vectors: int
    root_finder: Any

    interpolation_cls: ClassVar[Callable[..., StepInterpolation]] = ExponentialInterpolation

    def __init__(
        self, order: int = 5, quadratures: int = 0, max_vectors: int = 64, root_finder: Any = CONTROLLER_TOLERANCES
    ) -> None:
        tableau_of_order(order)
        if max_vectors < 2:
            raise ValueError(f"max_vectors must be at least 2; got {max_vectors}.")
        self._order, self.quadratures = order, quadratures
        self.max_vectors, self.root_finder = max_vectors, root_finder

    @property
    def root_find_max_steps(self) -> int:  # pyright: ignore
        """Diffrax's name for `max_vectors`."""
        return self.max_vectors

    def order(self, terms: Any) -> int:
        """The order, 4 or 5."""
        return self._order

    def initial_memory(self, field: FlatField, t0: Any, x: Float[Array, " n"]) -> KrylovState:
        """No work yet."""
        return KrylovState(evaluations=jnp.asarray(0), products=jnp.asarray(0))

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: KrylovState, made_jump: Any) -> Any:
        """One step from t0 to t1, as Diffrax asks for it."""
        field, u = flat_field(terms, y0, args)
        h = jnp.asarray(t1 - t0, u.dtype)
        _, apply = jax.linearize(lambda x: field(t0, x), u)
        tolerances, size = self.root_finder, u.size - self.quadratures
        tolerated = tolerances.tolerated(y0, y0)
        products = jnp.asarray(0)

        def prepare(b: Array, lowest: int, gain: Any) -> tuple[Any, Array]:
            nonlocal products
            measure = lambda error: tolerances.scaled_norm(field.unravel(gain * error), tolerated)  # noqa: E731
            basis, error, count = lanczos(apply, b, size, min(self.max_vectors, size), h, lowest, measure)
            products = products + count
            return basis, gain * error

        tableau = tableau_of_order(self._order)
        linear = Linear(KrylovProducts(), prepare=prepare, apply=apply)
        start = (t0, u, *field.with_time_derivative(t0, u))
        end, error, dense = exponential_step(tableau, field, linear, start, h)
        evaluated = len(tableau.nodes) + (tableau.nodes[-1] < 1)  # each with a product
        state = KrylovState(
            evaluations=solver_state.evaluations + 1 + evaluated,
            products=solver_state.products + products + evaluated,
        )
        return field.unravel(end), field.unravel(error), {"y0": y0, **dense}, state, dfx.RESULTS.successful
