"""All figures that can be reproduced. Whoever runs none need not import this."""

from .panel import Reproduction
from .reproduced_agf import AGF
from .reproduced_attention import ATTENTION
from .reproduced_figure_1 import FIGURE_1
from .reproduced_figure_2 import FIGURE_2
from .reproduced_figure_3 import FIGURE_3
from .reproduced_figure_4 import FIGURE_4
from .reproduced_figure_5 import FIGURE_5
from .reproduced_figure_6 import FIGURE_6
from .reproduced_relu import RELU

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
