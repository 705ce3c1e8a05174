"""A narrow network inside a wide one: the linear maps that embed it, in one layer or in all."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from ...models.units import declared_units, map_units, unit_vectors
from ..thresholds import EPS

# P_u and P_v, H × r, and the layer whose units they map.
LayerMap = tuple[Float[np.ndarray, "_ _"], Float[np.ndarray, "_ _"], int]


class Embedding(eqx.Module):
    r"""A narrow network and the linear maps that embed it in a wide one: $U = P_u U'$, $V = P_v V'$, layer by layer.

    In each layer $P_v^\top P_u = 1$. Types i–iii: every wide unit belongs to one narrow unit, its column, or is zero;
    type iv: any columns.

    Attributes:
        narrow: the model with r units in each of these layers.
        maps: $P_u$, which maps incoming parameters, $P_v$, which maps outgoing ones, both H × r, and the number of the
            layer, from 0; all other layers are the same in both networks.
    """

    narrow: Any
    maps: tuple[LayerMap, ...]

    @property
    def layered(self) -> bool:
        """Whether it embeds several layers."""
        return len(self.maps) > 1

    @property
    def p_in(self) -> Float[np.ndarray, "H r"]:
        """$P_u$ of a single layer."""
        return self._single()[0]

    @property
    def p_out(self) -> Float[np.ndarray, "H r"]:
        """$P_v$ of a single layer."""
        return self._single()[1]

    @property
    def layer(self) -> int:
        """The number of a single layer."""
        return self._single()[2]

    def _single(self) -> LayerMap:
        if self.layered:
            raise ValueError(f"the embedding has maps of {len(self.maps)} layers; choose one of its `maps`.")
        return self.maps[0]

    @property
    def dormant(self) -> Bool[np.ndarray, " units"]:
        """Which units of the wide network are zero, one layer after the other."""
        return np.concatenate([zero_rows(p, q) for p, q, _ in self.maps])

    @property
    def spare(self) -> tuple[int, ...]:
        """The number of units to spare in each layer: zero or, where units mix freely, beyond the narrow ones."""
        mixing = [declared_units(self.narrow, layer).law.linear for *_, layer in self.maps]
        return tuple(
            len(p) - p.shape[1] if free else int(np.sum(zero_rows(p, q)))
            for free, (p, q, _) in zip(mixing, self.maps, strict=True)
        )

    def wide(self, narrow: Any = None) -> Any:
        """The wide network with the narrow one's map; its gradient is zero wherever the narrow network's is.

        Args:
            narrow: a network of the narrow one's shape, by default the narrow one itself.

        Returns:
            The model.
        """
        model = self.narrow if narrow is None else narrow
        for p, q, layer in self.maps:
            model = map_units(model, p, q, layer)
        return model

    def without_zero_units(self, size: float) -> "Embedding":
        """The same embedding without those units of the narrow network that are zero, as a search may have left them.

        Args:
            size: of the weights; a unit is zero if it is zero to their rounding.

        Returns:
            The embedding of the narrower network, the same where no unit is zero.
        """
        narrow, maps = self.narrow, []
        for p, q, layer in self.maps:
            used = np.linalg.norm(np.asarray(unit_vectors(narrow, layer)), axis=1) > EPS * size
            # Without a zero of φ no unit can be left out.
            used |= not declared_units(narrow, layer).law.zero
            chosen = np.eye(len(used))[used]
            narrow = narrow if np.all(used) else map_units(narrow, chosen, chosen, layer)
            maps.append((p[:, used], q[:, used], layer))
        return self if narrow is self.narrow else Embedding(narrow=narrow, maps=tuple(maps))

    def projected(self, model: Any) -> Any:
        r"""Another wide network projected on those of this embedding's shape: $U \to P_u P_v^\top U$, layer by layer.

        Args:
            model: the other network.

        Returns:
            Its projection.
        """
        for p, q, layer in self.maps:
            model = map_units(model, p @ q.T, q @ p.T, layer)
        return model

    def then(self, outer: "Embedding") -> "Embedding":
        """This embedding of a single layer followed by an embedding of its wide network in a wider one.

        Args:
            outer: the second embedding, of the same layer.

        Returns:
            The embedding of the narrow network in the widest.

        Raises:
            ValueError: for embeddings of different or of several layers.
        """
        if outer.layer != self.layer:
            raise ValueError(f"embeddings of different layers, {self.layer} and {outer.layer}, have no composition.")
        p_in, p_out = outer.p_in @ self.p_in, outer.p_out @ self.p_out
        return Embedding(narrow=self.narrow, maps=((p_in, p_out, self.layer),))

    def __str__(self) -> str:
        zero = int(np.sum(self.dormant))
        if self.layered:
            widths = [f"{p.shape[1]} in {p.shape[0]}" for p, *_ in self.maps]
            return f"embedding of widths {', '.join(widths)}, layer by layer: {zero} zero units"
        wide, narrow = self.p_in.shape
        return (
            f"embedding of width {narrow} in width {wide} (layer {self.layer}): "
            f"{wide - narrow} further units, {zero} of them zero"
        )


def zero_rows(p: np.ndarray, q: np.ndarray) -> Bool[np.ndarray, " H"]:
    """Which units both maps leave zero."""
    return ~np.any((p != 0) | (q != 0), axis=1)
