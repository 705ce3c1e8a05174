"""Arrays of a model by their path."""

from typing import Any

import equinox as eqx
import jax


class Leaf(eqx.Module):
    """Picks an array of a model by its path; equal paths compare equal.

    Attributes:
        path: names of attributes, and keys or numbers of items, each marked by which of the two it is.
    """

    path: tuple[tuple[bool, Any], ...] = eqx.field(static=True)

    def __call__(self, model: Any) -> Any:
        """The array, or what stands in its place in a tree of the same structure."""
        for is_attribute, key in self.path:
            model = getattr(model, key) if is_attribute else model[key]
        return model

    def within(self, attribute: str) -> "Leaf":
        """The path of the same array in a module that holds the model as an attribute."""
        return Leaf(((True, attribute), *self.path))

    def __str__(self) -> str:
        return "".join(f".{key}" if is_attribute else f"[{key!r}]" for is_attribute, key in self.path).lstrip(".")


def leaf_at(path: Any) -> Leaf:
    """The array at a path as `jax.tree_util` writes it.

    Args:
        path: of keys.

    Returns:
        The array's place.

    Raises:
        ValueError: for a part of the model that is neither an attribute nor an item of what holds it.
    """
    steps: list[tuple[bool, Any]] = []
    for key in path:
        if isinstance(key, jax.tree_util.GetAttrKey):
            steps.append((True, key.name))
        elif isinstance(key, jax.tree_util.SequenceKey):
            steps.append((False, key.idx))
        elif isinstance(key, jax.tree_util.DictKey):
            steps.append((False, key.key))
        else:
            raise ValueError(f"units are found in modules, tuples, lists and dictionaries; got a part {key!r}.")
    return Leaf(tuple(steps))
