"""Tsitouras' method with its stages written out: longer to compile than Diffrax's loop over them, faster to run."""

from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp


class UnrolledTsit5(dfx.Tsit5):
    """`diffrax.Tsit5` for many steps of small systems, the same method and the same solver state.

    A loop over the stages reads and writes all of them in every round, also those that are still empty, which takes
    several times as long as the field of a small network. Without dense output.

    Source: Tsitouras (2011), Comput. Math. Appl. 62.
    """

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> Any:
        """The field at the start, which every step takes over from the one before."""
        return jnp.asarray(False), terms.vf(t0, y0, args)

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any) -> Any:
        """One step from t0 to t1, as Diffrax asks for it; there must be no jump before it."""
        tableau, h, stages, y = self.tableau, terms.contr(t0, t1), [solver_state[1]], y0
        for c, row in zip(tableau.c, tableau.a_lower, strict=True):
            y = _moved(y0, h, row, stages)
            stages.append(terms.vf(jnp.where(c == 1, t1, t0 + c * (t1 - t0)), y, args))
        error = _moved(None, h, tableau.b_error, stages)
        return y, error, {}, (jnp.asarray(False), stages[-1]), dfx.RESULTS.successful


def _moved(start: Any, h: Any, weights: Any, stages: list[Any]) -> Any:
    """The start, or zero, moved by h Σ weight × stage."""

    def one(*leaves: Any) -> Any:
        total = sum((float(weight) * leaf for weight, leaf in zip(weights, leaves[-len(stages) :], strict=True)))
        return h * total if start is None else leaves[0] + h * total

    return jax.tree.map(one, *(() if start is None else (start,)), *stages)
