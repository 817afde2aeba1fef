"""Libraries that are not installed, or installed together but do not work together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.wording import short

ACTIVITIES: Mapping[str, str] = MappingProxyType(
    {
        "train": "Training",
        "evaluate": "Evaluation",
        "serve": "Serving",
        "xgboost": "XGBoost",
        "mlflow": "MLflow",
        "peft": "The setting peft",
    }
)
"""What needs an extra, in messages; the name of the extra itself if it is not here."""


class LibraryVersionsError(ZooError):
    """Two installed libraries do not work together, although their metadata allows it.

    Args:
        first, second: the name and the version of each library.
        needed: what the first one needs of the second, such as "torch>=2.3".
        older: versions of the first one that fit the second, such as "numpy<2".
    """

    def __init__(self, first: tuple[str, str], second: tuple[str, str], needed: str, older: str) -> None:
        super().__init__(
            f"{' '.join(first)} does not work with {' '.join(second)}: it needs {needed}.",
            f"pip install '{older}' to keep {second[0]}, or pip install --upgrade '{needed}'. The extra for "
            "torch 2.1 and 2.2 chooses versions that fit: pip install 'fusionzoo[torch21]'.",
            "FZ-P027",
        )
        self.first = first


class MissingPackagesError(ZooError):
    """A part of fusionzoo needs packages that belong to an extra and are not installed.

    Args:
        extra: the extra, such as "train".
        missing: the packages that are not installed.
    """

    def __init__(self, extra: str, missing: Sequence[str]) -> None:
        activity = ACTIVITIES.get(extra, extra)
        super().__init__(
            f"{activity} needs packages that are not installed: {', '.join(missing)}.",
            f"pip install 'fusionzoo[{extra}]'.",
            "FZ-P028",
        )
        self.extra, self.missing = extra, tuple(missing)


class AdapterLibraryError(ZooError):
    """The library peft cannot be imported with the installed versions of other libraries."""

    def __init__(self, cause: ImportError) -> None:
        super().__init__(
            f"The setting peft needs the library peft, which cannot be imported ({short(cause)}). It does not fit the "
            "installed versions of torch and transformers.",
            "pip install --upgrade 'fusionzoo[peft]'; with transformers before 4.45: pip install 'peft<0.14'.",
            "FZ-P038",
        )
