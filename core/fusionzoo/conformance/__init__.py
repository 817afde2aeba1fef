"""Checks of the contract that every plugin must fulfill. They generate their own data and do not need pytest.

In a plugin's tests:

    test_conformance = parametrize_with_checks("my_model")

Without pytest: `fusionzoo check my_model`, or `check_plugin("my_model")`. Importing this package does not import torch.
"""

from __future__ import annotations

from fusionzoo.conformance.parametrize import parametrize_with_checks
from fusionzoo.conformance.results import CheckResult
from fusionzoo.conformance.run import check_plugin

__all__ = ["CheckResult", "check_plugin", "parametrize_with_checks"]
