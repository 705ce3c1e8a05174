"""When to stop a flow early."""

import equinox as eqx


class Limits(eqx.Module):
    """When to stop early.

    Attributes:
        convergence: the speed below which to stop once it has been above; `None`: never.
        max_steps: the number of steps tried after which to stop.
    """

    convergence: float | None
    max_steps: int
