r"""How long a three-parameter induction head takes to form, N pairs being in context."""

import numpy as np


def product_rate(pairs: int) -> float:
    r"""$c_3 = (1 - 1/N) / (2N + 1)^2$ in $L = \ln N - c_3\, \alpha \beta \gamma + \dots$, for attention to all tokens.

    With uniform attention the query's item has the same share in what the first layer appends to any token, so that
    nothing can be told from it: all three parameters must have grown. α raises the share at the label of the query's
    pair by $(T-1)/T^2$ of T = 2N + 1, and what the query attends to counts by 1/T.

    Args:
        pairs: number N of pairs in context, and of labels.

    Returns:
        The coefficient. From α = β = γ = ε the loss leaves the plateau at $t = 1 / (c_3 \epsilon)$, which grows as N².

    Source: Musat et al. (2025), for the law N².
    """
    return (1 - 1 / pairs) / (2 * pairs + 1) ** 2


def causal_rate(pairs: int) -> float:
    r"""$c_2 = (H_N - 1) / (2N (2N + 1))$ in $L = \ln N - c_2\, \beta \gamma + \dots$, for causal attention.

    A token attends to itself and to those before it, with $H_N = \sum_{n \le N} 1/n$: the earlier an item, the larger
    its share in what the tokens after it read, and most of all in its own label's. Uniform attention in the first layer
    tells the labels apart already, and the growth of β and γ does not wait for α.

    Args:
        pairs: number N of pairs in context, and of labels.

    Returns:
        The rate at which β = γ grow from small values: the plateau ends at $t = \ln(r/\epsilon) / c_2$, which grows as
        $N^2 / \ln N$.
    """
    harmonic = float(np.sum(1 / np.arange(1, pairs + 1)))
    return (harmonic - 1) / (2 * pairs * (2 * pairs + 1))
