"""The base of all solvers here: the state is ravelled to one vector before anything else happens to it."""

from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
from jaxtyping import Array, Float

from .flat_field import FlatField, check_quadratures, flat_field


class FlatSolver(dfx.AbstractAdaptiveSolver[Any]):
    """A Diffrax solver of one ordinary differential equation whose formulas are written for flat vectors.

    A subclass declares `quadratures` and `interpolation_cls` and defines `order` and `step`; `flat_field` in its `step`
    gives the flat field and state. A solver with memory defines `initial_memory` too.

    Attributes:
        quadratures: number of trailing components of the ravelled state that do not enter the vector field (pure
            quadratures), such as the dissipated energy of a gradient flow.
    """

    quadratures: eqx.AbstractVar[int]

    term_structure: ClassVar[Any] = dfx.AbstractTerm

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> Any:
        """The solver state before the first step, as Diffrax asks for it."""
        field, x = flat_field(terms, y0, args)
        check_quadratures(self.quadratures, x.size)
        return self.initial_memory(field, t0, x)

    def initial_memory(self, field: FlatField, t0: Any, x: Float[Array, " n"]) -> Any:
        """What the solver remembers from step to step, before the first one: nothing, unless a subclass says so."""
        return None

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        """The vector field at the state, from which Diffrax guesses the first step."""
        return terms.vf(t0, y0, args)
