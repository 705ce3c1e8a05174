"""The plainest model."""

import equinox as eqx
from jaxtyping import Array


class Vector(eqx.Module):
    """A bare vector of parameters, with no units and no symmetries that could be known: the loss does the rest."""

    x: Array
