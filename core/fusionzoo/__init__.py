"""fusionzoo: train and serve models of rows with text and tabular features. Importing it does not import torch."""

from __future__ import annotations

import pluggy

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("fusionzoo")

__all__ = ["__version__", "hookimpl"]
