"""Run the conformance checks with pytest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fusionzoo.conformance.run import Case, plan_cases


def parametrize_with_checks(
    name: str,
    *,
    text_encoder: str | None = None,
    settings: Mapping[str, Any] | None = None,
    encoder_settings: Mapping[str, Any] | None = None,
    expected_failed_checks: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """Return a pytest function that runs every check of an installed plugin.

    The arguments are those of `check_plugin`. An expected failure is an xfail, and fails the test if the check
    passes.

    Raises:
        fusionzoo.errors.ZooError: the plugin does not exist or cannot be loaded, or settings are invalid.
        ValueError: an expected failure names an unknown check, or gives no reason.
    """
    import pytest

    cases = plan_cases(
        name,
        text_encoder=text_encoder,
        settings=settings,
        encoder_settings=encoder_settings,
        expected_failed_checks=expected_failed_checks,
    )

    @pytest.mark.parametrize("case", cases, ids=[case.id for case in cases])
    def test_conformance(case: Case) -> None:
        result = case.run()
        if result.status == "xfailed":
            pytest.xfail(result.detail)
        if not result.ok:
            pytest.fail(f"{result.subject}: {result.detail}", pytrace=False)

    return test_conformance
