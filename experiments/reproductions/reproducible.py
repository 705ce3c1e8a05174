"""All figures that can be reproduced. Whoever runs none need not import this."""

from .alternating_flows import AGF
from .figure_1 import FIGURE_1
from .figure_2 import FIGURE_2
from .figure_3 import FIGURE_3
from .figure_4 import FIGURE_4
from .figure_5 import FIGURE_5
from .figure_6 import FIGURE_6
from .leaky_relu import RELU
from .linear_attention import ATTENTION
from .panel import Reproduction

REPRODUCTIONS: dict[str, Reproduction] = {
    item.name: item
    for item in (
        *FIGURE_1,
        *FIGURE_2,
        *FIGURE_3,
        *FIGURE_4,
        *FIGURE_5,
        *FIGURE_6,
        *ATTENTION,
        *RELU,
        *AGF,
    )
}
