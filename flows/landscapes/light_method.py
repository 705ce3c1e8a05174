"""Methods that are called thousands of times: bound without Equinox, which makes a module of each bound method."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])


class _Light:
    """A method whose access takes a twentieth of the time; bound, it is no PyTree but an ordinary function."""

    def __init__(self, method: Callable[..., Any]):
        self.method = method
        functools.update_wrapper(cast(Any, self), method)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """The method of the object that is the first argument."""
        return self.method(*arguments, **options)

    def __get__(self, instance: object, owner: type | None = None) -> Callable[..., Any]:
        # Equinox wraps bound methods alone.
        return self.method if instance is None else functools.partial(self.method, instance)


def light_method(method: Method) -> Method:
    """Makes the access to a method of an Equinox module cheap.

    Args:
        method: defined in the class.

    Returns:
        The same method for all callers, except those that would pass it to a compiled function as a PyTree.
    """
    return cast(Method, _Light(method))
