"""fusionzoo: classifiers over text and a table side by side. Importing it imports no torch."""

from __future__ import annotations

import pluggy

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("fusionzoo")

__all__ = ["__version__", "hookimpl"]
