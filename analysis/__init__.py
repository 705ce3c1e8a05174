"""Second floor: what happened. A trajectory becomes visits to critical points, and these a report."""

import lazy_loader

# Names stand in `__init__.pyi`; each is imported when it is first asked for, since few are needed at once.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
