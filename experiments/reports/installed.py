"""Whether what draws reports is installed."""

from collections.abc import Callable

MISSING = 'a report is drawn by Altair and vl-convert: pip install "saddlescope[report]".'


def needed() -> Callable[..., str]:
    """What makes a page; imported when a report is asked for, since it takes most of a second.

    Returns:
        The function `page`.

    Raises:
        ValueError: when Altair or vl-convert is not installed.
    """
    try:
        from .page import bundle, page

        bundle()
    except ImportError as error:
        raise ValueError(MISSING) from error
    return page
