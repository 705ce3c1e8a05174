"""saddlescope: exact gradient flow of neural networks, and the saddles that it visits.

Import from the floors: ``saddlescope.models``, ``saddlescope.flows``, ``saddlescope.analysis``,
``saddlescope.experiments``. This file imports none of them, so that tools may import the root under any name.
"""

__version__ = "0.1.0"
