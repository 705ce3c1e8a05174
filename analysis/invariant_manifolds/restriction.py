"""The flow on an invariant manifold, which is that of a narrower network, beside the full flow."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...flows import Trajectory, simulate, unflatten
from ...models.units import map_units, units_matrix
from ..embeddings.embedding import Embedding
from ..found_units import with_units_along
from .projection import project


class ScaledUnitsLoss(eqx.Module):
    r"""The loss of a narrow network whose units are scaled, $L(U_{ij} / \alpha_i, V_{ij} / \beta_i)$.

    With α and β the norms of the columns of an embedding's $P_u$ and $P_v$, these coordinates are those of
    the wide network's metric: their gradient flow is the wide network's. The data are (α, β, the loss's own data).
    """

    loss: Callable[[Any, Any], Any] = eqx.field(static=True)
    layer: int = eqx.field(static=True, default=0)

    def __call__(self, model: Any, data: Any) -> Array:
        """The loss of the network with its units scaled back."""
        alpha, beta, data = data
        return self.loss(map_units(model, jnp.diag(1 / alpha), jnp.diag(1 / beta), self.layer), data)


class Restriction(eqx.Module):
    r"""The flow restricted to a manifold of lower effective width, beside the full one.

    Attributes:
        width: effective width of the manifold.
        times: of the full flow.
        gap: $\|\theta_{full}(t) - \theta_{restricted}(t)\|$ at these times; its first entry is the distance of the full
            flow from the manifold where the restriction begins.
        losses: of the restricted flow.
        full_losses: of the full flow.
        path: of the restricted flow, in the wide network's parameters.
        embedding: of the narrow network, at the end, in the wide one.
    """

    width: int
    times: Float[np.ndarray, " T"]
    gap: Float[np.ndarray, " T"]
    losses: Float[np.ndarray, " T"]
    full_losses: Float[np.ndarray, " T"]
    path: Float[np.ndarray, "T n"]
    embedding: Embedding

    def __str__(self) -> str:
        return (
            f"flow of width {self.width} from t = {self.times[0]:.4g} to {self.times[-1]:.4g}\n"
            f"  gap to the full flow: {self.gap[0]:.2e} → {self.gap[-1]:.2e}, at most {np.max(self.gap):.2e}\n"
            f"  loss at the end: {self.losses[-1]:.6g}, of the full flow {self.full_losses[-1]:.6g}"
        )


def restricted_flow(
    trajectory: Trajectory, width: int, *, layer: int = 0, start: int = 0, stop: int | None = None, points: int = 200
) -> Restriction:
    r"""The flow from the nearest network of a given effective width, on the manifold, which is invariant.

    It is integrated as the narrow network's own gradient flow, so that rounding cannot drive it off the manifold.
    Where units are copies of each other (types i, ii) the narrow network's parameters are scaled to the wide one's
    metric; for types iii and iv its flow is the narrow network's as it is.

    Args:
        trajectory: the full flow.
        width: effective width of the manifold, at least 1.
        layer: of units, from 0, where several have them.
        start: number of the saved time at which the restriction begins.
        stop: number of the saved time at which it ends, by default the last.
        points: number of saved times between these at which to compare.

    Returns:
        Both flows, and the gap between them.

    Raises:
        ValueError: for a width without units and for an empty interval.
    """
    last = len(trajectory.ts) - 1 if stop is None else stop
    if width < 1 or not 0 <= start < last < len(trajectory.ts):
        raise ValueError(f"needs a width of at least 1 and start < stop; got {width}, {start} and {last}.")
    trajectory = with_units_along(trajectory)
    embedding = project(trajectory.model_at_index(start), width, layer=layer)
    u, v = (np.linalg.norm(part, axis=0) for part in (embedding.p_in, embedding.p_out))
    # Singular vectors and the shares of rays have norm one, up to rounding.
    plain = all(np.allclose(norms, 1.0, rtol=1e-12) for norms in (u, v))
    u, v = (np.ones_like(norms) if plain else norms for norms in (u, v))
    narrow = map_units(embedding.narrow, np.diag(u), np.diag(v), layer)
    loss, data = trajectory.loss, trajectory.data
    if not plain:
        loss, data = ScaledUnitsLoss(loss, layer), (u, v, data)
    saved = np.unique(np.linspace(start, last, min(points, last - start + 1)).astype(int))
    times = trajectory.ts[saved]
    settings = {"rtol": trajectory.stats["rtol"], "save_times": (times[1:] - times[0]).tolist()}
    flow = simulate(narrow, loss, data, t1=float(times[-1] - times[0]), **settings)
    at = np.searchsorted(flow.ts, times - times[0])
    at = np.minimum(at, len(flow.ts) - 1)
    path = flow.thetas[at] @ units_matrix(narrow, [(embedding.p_in / u, embedding.p_out / v, layer)]).T
    gap = np.linalg.norm(trajectory.thetas[saved] - path, axis=1)
    end = map_units(unflatten(narrow, flow.thetas[-1]), np.diag(1 / u), np.diag(1 / v), layer)
    final = Embedding(narrow=end, maps=embedding.maps)
    return Restriction(
        width=width,
        times=times,
        gap=gap,
        losses=flow.losses[at],
        full_losses=trajectory.losses[saved],
        path=path,
        embedding=final,
    )
