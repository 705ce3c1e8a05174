"""Transformers that form induction heads: in-context classification by two attention-only layers."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jaxtyping import PRNGKeyArray

from ...flows.losses.cross_entropy import cross_entropy
from ...models.attention_only import AttentionOnly
from ..data.in_context_classification import Classification, in_context_classification
from .circuit import mean_patterns, remarks, rule_losses
from .experiment import Experiment, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Tokens of 14 and of 64 entries. With four labels, two in context, the network learns to tell labels in context from
# others in three steps of one dimension each.
SMALL = Classification(items=5, labels=4)
LARGE = Classification(items=55, labels=4)
# Of the larger task's 71 280 sequences.
SAMPLE = 2048
# Seconds: the search for a critical point of so many parameters may take longer than anybody waits.
BUDGET = 600.0


def _transformer(task: Classification, rank: int) -> Callable[[int, float, PRNGKeyArray], AttentionOnly]:
    """Two attention-only layers that read and write one-hot tokens; there are as many heads in each as `width` says."""
    return lambda width, scale, key: AttentionOnly(
        width=task.width, heads=width, rank=rank, outputs=task.labels, scale=scale, key=key
    )


def attention_panels(data: tuple[Any, Any]) -> Mapping[str, Panel]:
    """A panel for each layer: its mean attention on the sequences whose query is the first item, head by head."""

    def panel(layer: int) -> Panel:
        def draw(model: Any, ax: "Axes") -> object:
            from ...analysis.figures.attention import plot_attention

            return plot_attention(mean_patterns(model, data)[layer], token_names((data[0].shape[1] - 1) // 2), ax=ax)

        return draw

    return {f"attention, layer {layer + 1}": panel(layer) for layer in range(2)}


def token_names(pairs: int) -> tuple[str, ...]:
    """x1, ℓ1, x2, ℓ2, …, q."""
    return (*(f"{kind}{n}" for n in range(1, pairs + 1) for kind in "xℓ"), "q")


SETUPS = (
    # All 480 sequences: the loss is the population's. 1344 parameters.
    Experiment(
        name="induction-heads",
        make_model=_transformer(SMALL, rank=3),
        width=4,
        scale=0.02,
        t1=1000.0,
        make_data=lambda key: in_context_classification(SMALL),
        loss=cross_entropy,
        levels=rule_losses,
        remarks=remarks,
        panels=attention_panels,
        budget=BUDGET,
    ),
    # 65 536 parameters.
    Experiment(
        name="induction-heads-64",
        make_model=_transformer(LARGE, rank=16),
        width=8,
        scale=0.02,
        t1=1000.0,
        make_data=lambda key: in_context_classification(LARGE, SAMPLE, key=key),
        loss=cross_entropy,
        levels=rule_losses,
        remarks=remarks,
        panels=attention_panels,
        budget=BUDGET,
    ),
)
