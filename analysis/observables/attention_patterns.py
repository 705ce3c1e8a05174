"""Where the heads of an attention layer look."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from .observable import Observable, Quantity


def attention_patterns(model: Any, tokens: Float[Any, "..."]) -> Observable:
    r"""The weights $a_i = \mathrm{smax}(Z K_i^\top Q_i z_q)$ that each head gives to the tokens of each sequence.

    For other models than `TwoLayer` ones of `SoftmaxAttention` observe a function of yours.

    Args:
        model: any of the flow's models.
        tokens: sequences $Z$ of tokens, as an array (sequence, token, entry); the last token of each is the query.

    Returns:
        The observable, with axes `sequence`, `head` and `token`.

    Raises:
        ValueError: for a model whose architecture has no `pattern`, or tokens that are not sequences.
    """
    architecture = getattr(model, "architecture", None)
    if not hasattr(architecture, "pattern"):
        raise ValueError(
            f"{type(model).__name__} is no network of attention heads with a pattern, as SoftmaxAttention has one; "
            "observe a function from your model to its attention weights instead."
        )
    if np.ndim(tokens) != 3:
        raise ValueError(f"tokens must be sequences of tokens, an array of three axes; got shape {np.shape(tokens)}.")

    def function(model: Any) -> Float[Array, "P H tokens"]:
        key, query, _ = model.parameters
        return jax.vmap(model.architecture.pattern, (0, None, None))(tokens, key, query)

    quantity = Quantity("attention to each token", axes=("sequence", "head", "token"))
    return Observable(function, quantities={"": quantity})
