"""What a flow near a saddle to leading order is, for whoever integrates it."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from numpy import ndarray

Vector = Float[ndarray, " n"]


@runtime_checkable
class ReducedFlow(Protocol):
    r"""An ODE $\dot y = f(t, y)$ that stands for the flow of θ near a saddle, to leading order in what grows there.

    θ is divided into x, which grows, and the rest. The rest moves as if x were zero; x moves in the leading-order form
    of the loss that it sees. What limits x's growth, and what x does to the rest, is not part of it.
    """

    @property
    def start(self) -> Float[ndarray, " m"]:
        """The state y at time 0."""
        ...

    @property
    def scale(self) -> Float[ndarray, " m"]:
        """The size of each component of y, as large for components that are compared with each other."""
        ...

    def velocity(self, t: float, y: Float[ndarray, " m"]) -> Float[ndarray, " m"]:
        """The time derivative f(t, y)."""
        ...

    def loss(self, t: float, y: Float[ndarray, " m"]) -> float:
        """The loss, to leading order in x."""
        ...

    def parameters(self, t: float, y: Float[ndarray, " m"]) -> Vector:
        """The parameters θ that the state stands for."""
        ...

    def growing(self, velocity: Float[ndarray, " m"]) -> Vector:
        """The velocity of x alone, in the parameters θ, of a velocity of y."""
        ...

    def seen(self, vector: Vector) -> Vector:
        """The component of a vector in the parameters θ along x's coordinates."""
        ...

    def relaxed(self, y: Float[ndarray, " m"]) -> "ReducedFlow | None":
        """A simpler flow from y on, if the rest has relaxed far enough."""
        ...
