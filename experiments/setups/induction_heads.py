"""Transformers that form induction heads: in-context classification by two attention-only layers.

The layers append what they write to the tokens. If they added it, a transformer that starts from small weights would
learn another rule for two pairs in context: its first layer copies labels to the items after them as soon as they are
of use, and its second layer then attends to the item that is not the query's, to read the label before it.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jaxtyping import PRNGKeyArray

from ...flows.losses.cross_entropy import cross_entropy
from ...flows.solvers import BDF
from ...models.attention_only import AttentionOnly
from ..data.in_context_classification import Classification, in_context_classification
from .circuit import mean_patterns, remarks, rule_losses
from .experiment import Experiment, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Tokens of 14 and of 64 entries.
SMALL = Classification(items=5, labels=4)
LARGE = Classification(items=55, labels=4)
# Sets of two items, with 48 sequences each: 2064 of the larger task's 71 280 sequences.
SAMPLE = 43
# Share of answers that are drawn from all labels: with it the logits stay finite.
NOISE = 0.1
# Seconds: the search for a critical point of so many parameters may take longer than anybody waits.
BUDGET = 600.0


def _transformer(task: Classification, rank: int) -> Callable[[int, float, PRNGKeyArray], AttentionOnly]:
    """Two disentangled layers that read and write one-hot tokens, each with as many heads as `width` says."""
    return lambda width, scale, key: AttentionOnly(
        width=task.width, heads=width, rank=rank, outputs=task.labels, disentangled=True, scale=scale, key=key
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


def _experiment(
    name: str,
    task: Classification,
    *,
    rank: int,
    sets: int | None = None,
    noise: float = 0.0,
    budget: float = BUDGET,
    **settings: Any,
) -> Experiment:
    return Experiment(
        name=name,
        make_model=_transformer(task, rank),
        make_data=lambda key: in_context_classification(task, sets, noise=noise, key=key),
        loss=cross_entropy,
        levels=rule_losses,
        remarks=remarks,
        panels=attention_panels,
        budget=budget,
        **settings,
    )


SETUPS = (
    # All 480 sequences: the loss is the population's. 1344 parameters.
    _experiment("induction-heads", SMALL, rank=4, width=2, scale=0.05, t1=2000.0),
    # So small that the flow comes near to the saddles: their spare heads are as far away as the initial weights.
    _experiment("induction-heads-noisy", SMALL, rank=4, noise=NOISE, width=2, scale=0.01, t1=1e5),
    # 67 584 parameters.
    _experiment(
        "induction-heads-64",
        LARGE,
        rank=11,
        sets=SAMPLE,
        noise=NOISE,
        width=8,
        scale=0.005,
        t1=1.5e5,
        integration={"rtol": 1e-6, "solver": BDF(matrix_free=True, quadratures=1)},
        budget=2400.0,
    ),
)
