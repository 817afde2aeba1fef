"""Install mutants and run conformance checks on them."""

from __future__ import annotations

from conftest import Installer
from correct_plugins import BOUNDED, MODEL, Mutant
from fusionzoo.conformance import CheckResult
from fusionzoo.conformance.run import plan_cases


def install_mutant(install: Installer, mutant: Mutant) -> None:
    module = mutant.distribution.replace("-", "_")
    if mutant.is_encoder:
        names = {mutant.entry_point: f"{module}:encoder"}
        install(mutant.distribution, source=mutant.source, text_encoders=names, requires=mutant.requires)
    else:
        install(mutant.distribution, source=mutant.source, models=[mutant.entry_point], requires=mutant.requires)


def install_model(install: Installer, source: str = MODEL, *changes: tuple[str, str]) -> None:
    """Install the correct model with changes, or another source, as `mutant`."""
    install("acme-mutant", source=Mutant("", frozenset(), changes).source if changes else source, **NAMED)


NAMED = {"models": ["mutant"], "requires": BOUNDED}


def run_checks(name: str = "mutant", checks: set[str] | None = None, **arguments: object) -> list[CheckResult]:
    cases = plan_cases(name, **arguments)  # type: ignore[arg-type]
    return [case.run() for case in cases if checks is None or case.check.__name__ in checks]


def run_one_check(name: str, check: str, **arguments: object) -> CheckResult:
    (result,) = run_checks(name, {check}, **arguments)
    return result
