"""Choose the checks that apply to a plugin, and run them one by one."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fusionzoo.conformance.results import Check, CheckResult, ConformanceError, Status, describe_exception
from fusionzoo.errors.wording import nearest_names

if TYPE_CHECKING:
    from fusionzoo.conformance.subject import Subject


class UnknownCheckError(ValueError):
    """No check of the plugin has this name."""


@dataclass(frozen=True)
class Case:
    """One check of one subject, or an expected failure of all subjects with the name.

    `title` describes the subjects. `expected_failure` is the author's reason why the check fails.
    """

    check: Check
    subjects: tuple[Subject, ...]
    title: str
    expected_failure: str | None = None

    @property
    def id(self) -> str:
        """A short name of the case, for pytest."""
        groups = [s.request.group.rpartition(".")[2] for s in self.subjects]
        jobs = [s.job_title.replace(" ", "_") for s in self.subjects if s.job_title]
        return "-".join([self.check.__name__, *groups, *jobs])

    def run(self) -> CheckResult:
        """Run the check and return its result; an exception in the plugin is a failed check."""
        start = time.perf_counter()
        problems = [problem for subject in self.subjects if (problem := run_check(self.check, subject))]
        status: Status = "failed" if problems else "passed"
        detail = "\n".join(problems)
        if self.expected_failure is not None and problems:
            status, detail = "xfailed", f"{self.expected_failure} ({detail})"
        elif self.expected_failure is not None:
            status = "xpassed"
            detail = (
                f"the check passes, but should fail ({self.expected_failure}). Fix: remove '{self.check.__name__}' "
                "from expected_failed_checks."
            )
        return CheckResult(self.check.__name__, self.title, status, detail, time.perf_counter() - start)


def check_plugin(
    name: str,
    *,
    text_encoder: str | None = None,
    settings: Mapping[str, Any] | None = None,
    encoder_settings: Mapping[str, Any] | None = None,
    expected_failed_checks: Mapping[str, str] | None = None,
    only: Collection[str] = (),
) -> Iterator[CheckResult]:
    """Run every check of an installed plugin, and yield each result as soon as it is known.

    Args:
        name: a model_class or a text encoder, or `dist-name:name`. A name that is both is checked as both.
        text_encoder: an installed text encoder for a fusion that accepts any; by default a small reference encoder.
        settings: changes to the plugin's `small()` settings; to the model's if the name is both.
        encoder_settings: the same for the text encoder.
        expected_failed_checks: check name -> reason why it fails. If the check passes, its result is `xpassed`.
        only: the names of the checks to run; by default all.

    Raises:
        fusionzoo.errors.ZooError: the plugin does not exist or cannot be loaded, or settings are invalid.
        UnknownCheckError: `only` names an unknown check.
        ValueError: an expected failure names an unknown check, or gives no reason.
    """
    cases = plan_cases(
        name,
        text_encoder=text_encoder,
        settings=settings,
        encoder_settings=encoder_settings,
        expected_failed_checks=expected_failed_checks,
    )
    names = {case.check.__name__ for case in cases}
    if unknown := sorted(set(only) - names):
        close = nearest_names(unknown[0], names)
        raise UnknownCheckError(
            f"{unknown[0]!r} is not a check of this plugin. "
            + (f"Did you mean {close[0]!r}?" if close else f"The checks are {', '.join(sorted(names))}.")
        )
    return (case.run() for case in cases if not only or case.check.__name__ in only)


def plan_cases(
    name: str,
    *,
    text_encoder: str | None = None,
    settings: Mapping[str, Any] | None = None,
    encoder_settings: Mapping[str, Any] | None = None,
    expected_failed_checks: Mapping[str, str] | None = None,
) -> list[Case]:
    """Return the cases that `check_plugin` runs; same arguments, same errors."""
    from fusionzoo.conformance.subject import Subject
    from fusionzoo.conformance.subject_request import make_requests

    expected = dict(expected_failed_checks or {})
    subjects = [Subject(r) for r in make_requests(name, text_encoder, settings or {}, encoder_settings or {})]
    all_cases = [case for subject in subjects for case in make_cases(subject)]
    _check_expected_failures(expected, all_cases)
    cases: dict[object, Case] = {}
    for case in all_cases:
        check = case.check.__name__
        if check not in expected:
            cases[len(cases)] = case
            continue
        earlier = cases.get(check)
        title = case.title if earlier is None else f"{earlier.title}; {case.title}"
        together = (*(earlier.subjects if earlier else ()), *case.subjects)
        cases[check] = Case(case.check, together, title, expected[check])
    return list(cases.values())


def make_cases(subject: Subject) -> Iterator[Case]:
    """Yield the checks of a package, of a text encoder, of the model that it is or is part of, and of each task."""
    from fusionzoo.conformance.checks import ENCODER_CHECKS, MODEL_CHECKS, PLUGIN_CHECKS, TASK_CHECKS

    yield from (Case(check, (subject,), subject.plugin_title) for check in PLUGIN_CHECKS)
    if subject.is_encoder:
        yield from (Case(check, (subject,), subject.plugin_title) for check in ENCODER_CHECKS)
    yield from (Case(check, (subject,), subject.title) for check in MODEL_CHECKS)
    for variant in subject.in_jobs_of_each_task():
        yield from (Case(check, (variant,), variant.title) for check in TASK_CHECKS)


def _check_expected_failures(expected: Mapping[str, str], all_cases: Iterable[Case]) -> None:
    names = sorted({case.check.__name__ for case in all_cases})
    if unknown := [check for check in expected if check not in names]:
        raise ValueError(
            f"expected_failed_checks contains {unknown}, which are not checks of this plugin. The checks are {names}."
        )
    if empty := [check for check, reason in expected.items() if not reason.strip()]:
        raise ValueError(f"expected_failed_checks gives no reason for {empty}. Fix: write why each of them fails.")


def run_check(check: Check, subject: Subject) -> str | None:
    """Run a check and return its failure, or None if it passes. The random state of the caller does not change."""
    import torch

    with torch.random.fork_rng(devices=[]):
        try:
            check(subject)
        except ConformanceError as error:
            return str(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything
            return describe_exception(error, subject.module)
    return None
