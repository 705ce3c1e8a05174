"""The operands of a traced `scan`, whose parameters differ between versions of JAX."""

from collections.abc import Mapping
from typing import Any


def scan_counts(parameters: Mapping[str, Any]) -> tuple[int, int]:
    """The numbers of constants and of carried arrays, which are the first operands; the others are run over.

    Args:
        parameters: of the `scan`.

    Returns:
        The two numbers.
    """
    if "num_consts" in parameters:
        return parameters["num_consts"], parameters["num_carry"]
    # From JAX 0.11 on the tree of operands: constants, what is carried, and what is run over.
    constants, carried, _ = parameters["ft_in"].unpack()
    return len(list(constants.vals)), len(list(carried.vals))
