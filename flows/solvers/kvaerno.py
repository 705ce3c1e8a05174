"""A stiff solver that works: Kvaerno5 with a repaired chord iteration.

Versions concerned: diffrax 0.7.2 with optimistix 0.1.0. There `diffrax.VeryChord` answers "diverged" on every
iteration that has not yet converged. Older releases of optimistix looked at that answer only when the iteration
asked to stop; 0.1.0 looks at it on every iteration and gives up, so that nearly every implicit step is rejected
until the step is so short that two iterations suffice.
"""

from typing import Any

import diffrax as dfx
import optimistix as optx


class PatientChord(dfx.VeryChord):
    """`diffrax.VeryChord` that reports divergence only when it stops: "not yet converged" is not a failure.

    Same arguments as `diffrax.VeryChord`.
    """

    def terminate(
        self, fn: Any, y: Any, args: Any, options: dict[str, Any], state: Any, tags: frozenset[object]
    ) -> tuple[Any, optx.RESULTS]:
        stop, result = super().terminate(fn, y, args, options, state, tags)
        linear_failure = state.result != optx.RESULTS.successful
        return stop, optx.RESULTS.where(stop | linear_failure, result, optx.RESULTS.successful)


def kvaerno5() -> dfx.AbstractSolver:
    """The stiff solver: Kvaerno's L-stable method of order 5 with `PatientChord` at the controller's tolerances.

    Takes steps that the fastest rate does not limit, at the cost of one Jacobian (a Hessian) per step: for long
    plateaus beside large curvatures and up to about a thousand parameters.

    Source: Kværnø (2004), ESDIRK 5/4.
    """
    return dfx.Kvaerno5(root_finder=dfx.with_stepsize_controller_tols(PatientChord)())
