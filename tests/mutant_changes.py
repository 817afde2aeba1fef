"""Small changes that make a correct plugin faulty."""

from __future__ import annotations

from collections.abc import Iterable

from correct_plugins import Mutant


def make_mutants(check: str, **changes: tuple[str, str] | list[tuple[str, str]]) -> Iterable[Mutant]:
    """Yield faulty models, by name, that fail only this check."""
    for name, change in changes.items():
        pairs = (change,) if isinstance(change, tuple) else tuple(change)
        yield Mutant(name, frozenset({check}), pairs)


def make_common_mistake(name: str, checks: str, *changes: tuple[str, str]) -> Mutant:
    """Return a faulty model that fails several checks, like most real mistakes."""
    return Mutant(name, frozenset(checks.split()), changes)


def make_encoder_mutants(check: str, **changes: tuple[str, str]) -> Iterable[Mutant]:
    for name, change in changes.items():
        yield Mutant(name, frozenset({check}), (change,), is_encoder=True)


LAST = "\n        return ModelOutput("
LAYERS = "        self.dropout = nn.Dropout(settings.dropout)\n"
TEXT = "joined = self.text(pooled)\n"
FEATURES_READ = "pooled = token_mean("
POOLED = "pooled = token_mean(tokens, mask, chunk_row, rows)"
WIDTH = 'width: int = Field(16, ge=1, description="Width of both sides.")'
IMPORTED = "import torch\n"
NESTED_SETTINGS = [
    ("import Field", "import BaseModel, Field"),
    (
        "class Settings(FusionSettings):",
        'class Table(BaseModel):\n    rate: float = Field(0.5, ge=0, description="A rate.")\n\n\n'
        'class Settings(FusionSettings):\n    table: Table = Field(Table(), description="The table.")',
    ),
]


def add_before_return(code: str) -> tuple[str, str]:
    """Add a line before forward returns."""
    return LAST, f"\n        {code}{LAST}"


def add_to_init(code: str) -> tuple[str, str]:
    """Add a line to __init__."""
    return LAYERS, f"{LAYERS}        {code}\n"


def add_fitted(fit: str, inner: bool = False) -> tuple[str, str]:
    """Add a module that is fitted on train by these lines; `inner` adds another one inside it."""
    body = f"""
            def __init__(self):
                super().__init__()
                self.means = make_fitted(4)

            def fit(self, train):
                {fit}
"""
    inside = """
        class Inner(FittedModule):
            def __init__(self):
                super().__init__()
                self.means = make_fitted(4)

            def fit(self, train):
                self.means.fill_(1)
"""
    return add_to_init(
        f"from fusionzoo.nn.fitted_module import FittedModule, make_fitted\n{inside if inner else ''}\n"
        f"        class Fitted(FittedModule):{body}\n        self.fitted = Fitted()\n"
        f"{'        self.fitted.inner = Inner()' if inner else ''}"
    )


def add_hook(signature: str, value: str) -> tuple[str, str]:
    """Add a hook that returns this value."""
    last = "@hookimpl\ndef settings_class"
    return last, f"@hookimpl\ndef {signature}:\n    return {value}\n\n\n{last}"


def add_on_import(code: str) -> tuple[str, str]:
    return IMPORTED, f"{IMPORTED}{code}\n"
