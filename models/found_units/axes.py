"""Identities of the axes of a program's arrays: which axes must be permuted together, and which cannot be."""

import itertools
import math

Axis = tuple[int, ...]


class Axes:
    """Factors of axes, tied to each other or fixed.

    An axis is a product of factors, from the slowest to the fastest; a factor may be divided into two later on, when a
    reshape shows that it is a product itself. Factors of size 1 are left out. A factor may also consist of several axes
    joined end to end.

    Attributes:
        sizes: of each factor.
        reasons: why the order of a factor's entries matters, empty where no reason is known.
    """

    sizes: list[int]
    reasons: list[str]

    def __init__(self) -> None:
        self.sizes, self.reasons = [], []
        self._parents: list[int] = []
        self._parts: list[Axis] = []
        self._joined: dict[int, list[Axis]] = {}

    def new(self, size: int, reason: str = "") -> Axis:
        """A new axis of one factor.

        Args:
            size: number of entries.
            reason: why their order matters; by default it does not.

        Returns:
            The axis.
        """
        self.sizes.append(size)
        self.reasons.append(reason)
        self._parents.append(len(self._parents))
        self._parts.append(())
        return (len(self._parents) - 1,)

    def _root(self, factor: int) -> int:
        while self._parents[factor] != factor:
            factor = self._parents[factor]
        return factor

    def factors(self, axis: Axis) -> Axis:
        """The smallest known factors of an axis, each by the one that stands for all it is tied to."""
        found: list[int] = []
        for factor in map(self._root, axis):
            parts = self._parts[factor]
            found += self.factors(parts) if parts else [factor] if self.sizes[factor] > 1 else []
        return tuple(found)

    def joined(self, axes: list[Axis]) -> Axis:
        """An axis of several axes end to end."""
        (whole,) = self.new(sum(map(self.size, axes)))
        self._joined[whole] = axes
        return (whole,)

    def stretches(self, factor: int) -> list[tuple[int, Axis]]:
        """The axes that a factor joins, each with the number of entries before it; nothing for other factors."""
        axes = self._joined.get(factor, [])
        return list(zip(itertools.accumulate(map(self.size, axes), initial=0), axes, strict=False))

    def all_factors(self, axis: Axis) -> set[int]:
        """The smallest known factors of an axis, also those of the axes that it joins."""
        found = set(self.factors(axis))
        return found.union(*(self.all_factors(part) for factor in found for _, part in self.stretches(factor)))

    def size(self, axis: Axis) -> int:
        """The number of entries of an axis."""
        return math.prod(self.sizes[factor] for factor in axis)

    def fix(self, axis: Axis, reason: str) -> None:
        """Notes why the order of an axis's entries matters; the first reason stays."""
        for factor in self.all_factors(axis):
            self.reasons[factor] = self.reasons[factor] or reason

    def _blocks(self, factor: int) -> None:
        """Makes of axes joined end to end a product, of blocks of the largest size that fits all of them."""
        axes, reason = self._joined.pop(factor), "is joined with another"
        block = math.gcd(*map(self.size, axes))
        parts: list[Axis] = []
        for axis in axes:
            slow, fast = self.split(axis, block)
            self.fix(slow, reason)
            self.tie(parts[0] if parts else fast, fast)
            parts.append(fast)
        own = self.new(self.sizes[factor] // block, reason) + parts[0]
        self._parts[factor] = own
        if self.reasons[factor]:
            self.fix(own, self.reasons[factor])

    def _divide(self, factor: int, fast: int) -> Axis:
        if factor in self._joined:
            self._blocks(factor)
            return self.factors((factor,))
        reason = self.reasons[factor]
        self._parts[factor] = self.new(self.sizes[factor] // fast, reason) + self.new(fast, reason)
        return self._parts[factor]

    def tie(self, first: Axis, second: Axis) -> None:
        """States that two axes of one size are permuted together."""
        left, right = list(self.factors(first)), list(self.factors(second))
        while left and right:
            # Factors that have been divided meanwhile are taken apart again.
            left, right = list(self.factors(tuple(left))), list(self.factors(tuple(right)))
            a, b = left.pop(), right.pop()
            sizes = self.sizes[a], self.sizes[b]
            if sizes[0] == sizes[1]:
                self._tie_factors(a, b)
            elif max(sizes) % min(sizes):
                self.fix((*left, a, *right, b), "is divided in two ways that do not fit")
                return
            elif sizes[0] > sizes[1]:
                left += self._divide(a, sizes[1])
                right.append(b)
            else:
                right += self._divide(b, sizes[0])
                left.append(a)

    def _tie_factors(self, a: int, b: int) -> None:
        if a == b:
            return
        if b in self._joined and a not in self._joined:
            a, b = b, a
        if b in self._joined:
            if list(map(self.size, self._joined[a])) != list(map(self.size, self._joined[b])):
                self.fix((a, b), "is joined in two ways that do not fit")
            else:
                for part, same in zip(self._joined[a], self._joined[b], strict=True):
                    self.tie(part, same)
        self._parents[b] = a
        if reason := self.reasons[a] or self.reasons[b]:
            self.fix((a,), reason)
            self.reasons[a] = reason

    def split(self, axis: Axis, size: int) -> tuple[Axis, Axis]:
        """Splits an axis in two.

        Args:
            axis: the axis.
            size: of the faster part.

        Returns:
            The slower part and the faster one; new fixed axes where factors do not fit.
        """
        slow, fast, missing = list(self.factors(axis)), [], size
        while missing > 1:
            factor = slow.pop()
            if missing % self.sizes[factor] == 0:
                fast.insert(0, factor)
                missing //= self.sizes[factor]
            elif self.sizes[factor] % missing == 0:
                slow += self._divide(factor, missing)
            else:
                reason = "is divided in two ways that do not fit"
                self.fix(axis, reason)
                return self.new(self.size(axis) // size, reason), self.new(size, reason)
        return tuple(slow), tuple(fast)
