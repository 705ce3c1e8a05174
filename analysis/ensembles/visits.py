"""The visits of many flows as arrays: passages, losses, speeds and effective widths, without a critical point."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from ...flows import Ensemble, unflatten
from ...models.units import layers_of
from ..embeddings.width import EffectiveWidth, counted, parts_of, size_along
from ..found_units import with_units
from ..thresholds import STANDARD, Thresholds
from ..visits.noise import largest_curvature
from ..visits.passages import Passage, passages, scales_of


class MemberVisits(eqx.Module):
    """The visits of one member.

    Attributes:
        passages: in order of time; none where the flow took no step.
        effective_widths: of each layer of units, for each passage.
        losses: at closest approach.
        speeds: ‖∇L‖ at closest approach.
    """

    passages: tuple[Passage, ...]
    effective_widths: tuple[tuple[EffectiveWidth, ...], ...]
    losses: Float[np.ndarray, " V"]
    speeds: Float[np.ndarray, " V"]

    def __len__(self) -> int:
        return len(self.passages)

    def __str__(self) -> str:
        lines = [f"{len(self)} visits"]
        for passage, widths, loss in zip(self.passages, self.effective_widths, self.losses, strict=True):
            width = ", ".join(str(effective.width) for effective in widths)
            lines.append(f"  t = {passage.time:.4g}: loss {loss:.6g}" + (f", effective width {width}" if width else ""))
        return "\n".join(lines)


def member_visits(ensemble: Ensemble, *, thresholds: Thresholds = STANDARD) -> tuple[MemberVisits, ...]:
    """The visits of every member, as `itinerary` finds them.

    Args:
        ensemble: the flows.
        thresholds: what counts as a visit and a unit.

    Returns:
        One record for each member.
    """
    found: list[tuple[Passage, ...]] = []
    for member in ensemble.members:
        if len(member.ts) < 2:
            found.append(())
            continue
        curvature = largest_curvature(member)
        scales = scales_of(member, thresholds=thresholds, curvature=curvature)
        found.append(passages(member, thresholds=thresholds, curvature=scales.curvature))
    # The start and the end count as well, as in `itinerary`.
    ends = [(0, *(passage.index for passage in each), len(ensemble.members[k].ts) - 1) for k, each in enumerate(found)]
    thetas = ensemble.weights([(k, index) for k, indices in enumerate(ends) for index in indices])
    template, start, result = with_units(ensemble.members[0].landscape).model, 0, []
    for member, visited, indices in zip(ensemble.members, found, ends, strict=True):
        models = [unflatten(template, theta) for theta in thetas[start : start + len(indices)]]
        start += len(indices)
        closest = [passage.index for passage in visited]
        result.append(
            MemberVisits(
                passages=visited,
                effective_widths=_widths(models, thresholds)[1:-1],
                losses=member.losses[closest],
                speeds=member.speeds[closest],
            )
        )
    return tuple(result)


def _widths(models: list[Any], thresholds: Thresholds) -> tuple[tuple[EffectiveWidth, ...], ...]:
    """The effective widths of models along one flow, from its start, against the largest unit that it came to."""
    layers = range(len(layers_of(models[0])))
    parts = [[parts_of(model, layer, thresholds=thresholds) for layer in layers] for model in models]
    largest = [[each[layer].leading_size for each in parts] for layer in layers]
    sizes = [size_along(first, later) for first, *later in largest]
    return tuple(tuple(counted(each[layer], sizes[layer], layer, thresholds) for layer in layers) for each in parts)


def padded_widths(
    visits: tuple[MemberVisits, ...],
) -> tuple[Int[np.ndarray, "B V layers"], Bool[np.ndarray, "B V layers"]]:
    """The effective widths of all layers as an array, −1 where there is no visit, and whether they are clear."""
    longest = max((len(each) for each in visits), default=0)
    layers = max((len(widths) for each in visits for widths in each.effective_widths), default=0)
    numbers = np.full((len(visits), longest, layers), -1, np.int32)
    clear = np.zeros(numbers.shape, bool)
    for member, each in enumerate(visits):
        for visit, widths in enumerate(each.effective_widths):
            for layer, effective in enumerate(widths):
                numbers[member, visit, layer], clear[member, visit, layer] = effective.width, effective.clear
    return numbers, clear
