"""What is computed of a landscape once, and kept as long as the landscape is."""

import functools
import weakref
from collections.abc import Callable
from typing import TypeVar

from ..flows import Landscape

Result = TypeVar("Result")


def kept(make: Callable[[Landscape], Result]) -> Callable[[Landscape], Result]:
    """Makes a function of a landscape remember its result, by the landscape's identity.

    Args:
        make: the function, whose result must not hold the landscape itself: it would never be forgotten.

    Returns:
        The function that computes once for each landscape.
    """
    known: dict[int, Result] = {}

    @functools.wraps(make)
    def get(landscape: Landscape) -> Result:
        key = id(landscape)
        if key not in known:
            known[key] = make(landscape)
            weakref.finalize(landscape, known.pop, key, None)
        return known[key]

    return get
