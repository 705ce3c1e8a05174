r"""In-context classification by a transformer: N pairs of an item and one of L labels, then a query, with noise η."""

import numpy as np


def classification_levels(labels: int, pairs: int, noise: float = 0.0) -> tuple[float, float, float]:
    r"""Cross-entropies of the three rules: uniform over all labels, uniform over those in context, the query's label.

    $\ln L$, $\ln N$ and 0 without noise. With noise a rule's prediction is mixed with the uniform one, and its loss is
    the entropy of that, which no prediction undercuts that knows as much of the sequence as the rule does.

    Args:
        labels: number L of labels.
        pairs: number N of pairs in context, with different labels.
        noise: probability η that an answer is drawn from all labels.

    Returns:
        The losses, falling.

    Source: Reddy (2024) and Singh et al. (2024) for the plateau at $\ln N$; entropies by their definition.
    """

    def entropy(known: int) -> float:
        p = (1 - noise) / known * (np.arange(labels) < known) + noise / labels
        return float(np.sum(p * np.log(1 / np.where(p > 0, p, 1.0))))

    return entropy(labels), entropy(pairs), entropy(1)


def copying_rate(labels: int, pairs: int, noise: float = 0.0) -> float:
    r"""The rate at which small heads that copy labels grow out of zero weights.

    $c = (1 - \eta) (L - N) / (L (L - 1) (2N + 1))$, the singular value of $E[(y - 1/L)\, \bar x^\top]$ with the mean
    $\bar x$ of a sequence's one-hot tokens, which uniform attention reads: it has L − 1 equal ones, and all others are
    zero. By symmetry, as items tell nothing of labels.

    Args:
        labels: number L of labels, at least 2.
        pairs: number N of pairs in context.
        noise: probability η that an answer is drawn from all labels.

    Returns:
        The rate c in $\dot O = c V^\top$ of a head's matrices, the negative of the lowest eigenvalue of the Hessian at
        zero weights; 0 where all labels are in every context.
    """
    return (1 - noise) * (labels - pairs) / (labels * (labels - 1) * (2 * pairs + 1))
