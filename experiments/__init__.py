"""Named experiments, their runs and sweeps, data sets, and figures of the literature, reproduced and checked."""

import lazy_loader

# Names stand in `__init__.pyi`; each is imported when it is first asked for, since few are needed at once.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
