"""The conservation audit of a flow: what its architecture conserves, and how well the integrator conserved it."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ...flows import Trajectory, flatten
from ...flows.compilation.traced import Traced, compiled, trace
from ..numerical_rank import DERIVATIVE_TOLERANCE, numerical_rank
from .conservation import conserved_drift, conserved_quantities
from .imbalance import LayerImbalance, layer_imbalances
from .lie_algebra import ConservedCount, count_of_outputs
from .outputs import outputs_on

# Brackets of gradient fields are computed up to this number of parameters: their number and cost grow with it.
COUNT_LIMIT = 60


class ConservationAudit(eqx.Module):
    """Conserved quantities of a model, and their drift along a flow.

    Attributes:
        known: number of independent ones among those that the architecture is known to have.
        count: of all conserved quantities, from the Lie algebra of the model's gradient fields; `None` beyond 60
            parameters and for data that determine no outputs.
        drift: the largest change of a known one along the flow, relative to the largest ‖θ_i‖² on it; `None` where none
            is known.
        rtol: the relative tolerance of the integrator, with which the drift is to be compared.
        imbalances: of each layer's norms, conserved where units are homogeneous; elsewhere an exact identity says how
            they change.
    """

    known: int
    count: ConservedCount | None
    drift: float | None
    rtol: float
    imbalances: tuple[LayerImbalance, ...] = ()

    @property
    def unknown(self) -> int | None:
        """The number of conserved quantities besides the known ones."""
        return None if self.count is None else self.count.count - self.known

    def __str__(self) -> str:
        total = "" if self.count is None else f" of {self.count.count} in all"
        drift = "no drift to measure" if self.drift is None else f"drift {self.drift:.1e} at rtol {self.rtol:g}"
        changing = [f"\n{layer}" for layer in self.imbalances if layer.degree is None]
        return f"{self.known} conserved quantities known{total}; {drift}" + "".join(changing)


def conservation_audit(trajectory: Trajectory) -> ConservationAudit:
    """Counts the quantities that a flow conserves, known and in all, and measures their drift.

    Args:
        trajectory: the flow.

    Returns:
        The audit.

    Source: Marcotte, Gribonval & Peyré (2023), "Abide by the law and follow the flow".
    """
    model, outputs = trajectory.initial_model, outputs_on(trajectory.initial_model, trajectory.data)
    size, count = trajectory.thetas.shape[1], None
    if outputs is not None and size <= COUNT_LIMIT:
        count = count_of_outputs(model, outputs)
    return ConservationAudit(
        known=known_rank(model),
        count=count,
        drift=conserved_drift(trajectory),
        rtol=trajectory.stats["rtol"],
        imbalances=layer_imbalances(trajectory),
    )


def known_rank(model: Any) -> int:
    """The number of independent conserved quantities among the known ones: the rank of their gradients."""
    flat = flatten(model)
    theta = np.random.default_rng(0).standard_normal(flat.size).astype(flat.dtype)
    gradients = np.asarray(_jacobian(trace(lambda point: conserved_quantities(model, point), theta), theta))
    if gradients.size == 0:
        return 0
    values = np.linalg.svd(gradients, compute_uv=False)
    return numerical_rank(values, DERIVATIVE_TOLERANCE)


@compiled
def _jacobian(function: Traced, theta: Float[Array, " n"]) -> Float[Array, "k n"]:
    return jax.jacrev(function)(theta)
