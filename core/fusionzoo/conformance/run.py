"""Which checks a plugin is owed, and running them one by one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fusionzoo.conformance.results import Check, CheckResult, ConformanceError, Status, describe_exception

if TYPE_CHECKING:
    from fusionzoo.conformance.subject import Subject


@dataclass(frozen=True)
class Case:
    """One check of one subject; of all subjects of a name, where the check is excused.

    `title` says what is checked. `excuse` is the reason why the check may fail.
    """

    check: Check
    subjects: tuple[Subject, ...]
    title: str
    excuse: str | None = None

    @property
    def id(self) -> str:
        """The case in a few characters, as a test's name."""
        parts = [self.check.__name__, *(s.request.group.rpartition(".")[2] for s in self.subjects)]
        return "-".join(parts)

    def run(self) -> CheckResult:
        """Run the check; whatever the plugin does, the answer is a result."""
        begun = time.perf_counter()
        problems = [fault for subject in self.subjects if (fault := run_check(self.check, subject))]
        status: Status = "failed" if problems else "passed"
        detail = "\n".join(problems)
        if self.excuse is not None and problems:
            status, detail = "excused", f"{self.excuse} ({detail})"
        elif self.excuse is not None:
            status = "stale"
            detail = (
                f"the check passes, but it is excused ({self.excuse}). Fix: remove '{self.check.__name__}' "
                "from expected_failed_checks."
            )
        return CheckResult(self.check.__name__, self.title, status, detail, time.perf_counter() - begun)


def check_plugin(
    name: str,
    *,
    text_encoder: str | None = None,
    settings: Mapping[str, Any] | None = None,
    encoder_settings: Mapping[str, Any] | None = None,
    expected_failed_checks: Mapping[str, str] | None = None,
) -> Iterator[CheckResult]:
    """Run every check of an installed plugin; results come as they are found.

    Args:
        name: a model_class or a text encoder, or `dist-name:name`; a name that is both is checked as both.
        text_encoder: an installed text encoder for a fusion that takes any; by default a small one of the kit's own.
        settings: what to change in the plugin's `small()` settings; the model's, where the name is both.
        encoder_settings: the same for the text encoder.
        expected_failed_checks: why a check may fail, by its name; if it passes after all, the result is `stale`.

    Raises:
        fusionzoo.errors.ZooError: no such plugin, or it cannot be loaded, or settings do not fit.
        ValueError: an excuse names no check, or gives no reason.
    """
    cases = plan_cases(
        name,
        text_encoder=text_encoder,
        settings=settings,
        encoder_settings=encoder_settings,
        expected_failed_checks=expected_failed_checks,
    )
    return (case.run() for case in cases)


def plan_cases(
    name: str,
    *,
    text_encoder: str | None = None,
    settings: Mapping[str, Any] | None = None,
    encoder_settings: Mapping[str, Any] | None = None,
    expected_failed_checks: Mapping[str, str] | None = None,
) -> list[Case]:
    """The cases that `check_plugin` runs, with its arguments and its errors."""
    from fusionzoo.conformance.subject import Subject, make_requests

    excuses = dict(expected_failed_checks or {})
    subjects = [Subject(r) for r in make_requests(name, text_encoder, settings or {}, encoder_settings or {})]
    owed = [case for subject in subjects for case in make_cases(subject)]
    _refuse_void_excuses(excuses, owed)
    cases: dict[object, Case] = {}
    for case in owed:
        found = case.check.__name__
        if found not in excuses:
            cases[len(cases)] = case
            continue
        before = cases.get(found)
        titles = case.title if before is None else f"{before.title}; {case.title}"
        cases[found] = Case(case.check, (*(before.subjects if before else ()), *case.subjects), titles, excuses[found])
    return list(cases.values())


def make_cases(subject: Subject) -> Iterator[Case]:
    """What one subject is owed: the checks of its package, of an encoder, and of the model that it is or stands in."""
    from fusionzoo.conformance.checks import ENCODER_CHECKS, MODEL_CHECKS, PLUGIN_CHECKS

    yield from (Case(check, (subject,), subject.plugin_title) for check in PLUGIN_CHECKS)
    if subject.is_encoder:
        yield from (Case(check, (subject,), subject.plugin_title) for check in ENCODER_CHECKS)
    yield from (Case(check, (subject,), subject.title) for check in MODEL_CHECKS)


def _refuse_void_excuses(excuses: Mapping[str, str], owed: Iterable[Case]) -> None:
    names = sorted({case.check.__name__ for case in owed})
    if unknown := [excuse for excuse in excuses if excuse not in names]:
        raise ValueError(f"expected_failed_checks names no check of this plugin: {unknown}. The checks are {names}.")
    if empty := [excuse for excuse, reason in excuses.items() if not reason.strip()]:
        raise ValueError(f"expected_failed_checks gives no reason for {empty}.")


def run_check(check: Check, subject: Subject) -> str | None:
    """What the check finds wrong; None where it passes. The caller's random state stays as it is."""
    import torch

    with torch.random.fork_rng(devices=[]):
        try:
            check(subject)
        except ConformanceError as failure:
            return str(failure)
        except (Exception, SystemExit) as fault:  # noqa: BLE001 - a plugin may raise anything
            return describe_exception(fault, subject.module)
    return None
