"""What the conformance kit says about packages that a plugin imports, but does not require."""

from __future__ import annotations

import pytest

from conformance_runs import run_one_check
from conftest import Installer
from correct_plugins import BERT, BOUNDED, CORE, Mutant
from fusionzoo.conformance import CheckResult
from mutant_changes import IMPORTED, TEXT

REQUIRED_BY_CORE = "import numpy\nimport pyarrow\nimport sklearn\nimport google.protobuf\nimport transformers\n"
OPTIONAL = """
try:
    import acme_fast
except ImportError:
    acme_fast = None
"""
FOR_TYPES_ONLY = """
import typing
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import acme_fast
if typing.TYPE_CHECKING:
    from acme_fast import Fast
"""


def check_imports(
    install: Installer, code: str, in_forward: str = "", requires: tuple[str, ...] = BOUNDED
) -> CheckResult:
    """Install the correct model with imports at the top and in forward, and check its metadata."""
    changes = ((IMPORTED, f"{code}{IMPORTED}"), (TEXT, f"{in_forward}\n        {TEXT}"))
    install("acme-mutant", source=Mutant("", frozenset(), changes).source, models=["mutant"], requires=requires)
    return run_one_check("mutant", "check_metadata")


def test_an_import_of_a_package_that_is_not_required_is_named_with_its_line_and_the_fix(install: Installer) -> None:
    result = check_imports(install, "import yaml\n")
    assert result.status == "failed"
    assert "acme_mutant.py, line 5 imports 'yaml', but neither 'acme-mutant' nor the fusionzoo" in result.detail
    assert "Fix: add 'PyYAML' to the dependencies in its pyproject.toml" in result.detail


@pytest.mark.parametrize(
    "line",
    [
        "import yaml.nodes",
        "from yaml import nodes as n",
        "if batch.rows > 10**9:\n            import yaml",
        "try:\n            import yaml\n        except ValueError:\n            pass",
        "try:\n            pass\n        except ImportError:\n            import yaml",
    ],
)
def test_an_import_in_a_function_counts_too(install: Installer, line: str) -> None:
    result = check_imports(install, "", in_forward=line)
    assert result.status == "failed"
    assert "imports 'yaml'" in result.detail


def test_all_undeclared_packages_are_listed_at_once(install: Installer) -> None:
    detail = check_imports(install, "import yaml\nimport pytest\n", in_forward="import acme_nowhere").detail
    assert "Fix: add 'PyYAML', 'pytest', 'acme_nowhere' to the dependencies" in detail


@pytest.mark.parametrize("code", [REQUIRED_BY_CORE, OPTIONAL, FOR_TYPES_ONLY, "import json, os.path\n"])
def test_what_core_requires_and_what_may_be_missing_needs_no_requirement(install: Installer, code: str) -> None:
    result = check_imports(install, code)
    assert result.status == "passed", result.detail


def test_core_without_its_extra_does_not_provide_torch(install: Installer) -> None:
    result = check_imports(install, "", requires=(CORE.replace("[train]", ""), BERT))
    assert "imports 'torch'" in result.detail
    assert "'pydantic'" not in result.detail


def test_a_requirement_may_have_another_name_than_its_module(install: Installer) -> None:
    result = check_imports(install, "import yaml\n", requires=(*BOUNDED, "pyyaml"))
    assert result.status == "passed", result.detail


def test_a_requirement_of_an_extra_suffices_in_a_function_only(install: Installer) -> None:
    requires = (*BOUNDED, "pyyaml; extra == 'fast'")
    assert check_imports(install, "import yaml\n", requires=requires).status == "failed"
    changes = ((TEXT, f"import yaml\n        {TEXT}"),)
    source, models = Mutant("", frozenset(), changes).source, {"lazy": "acme_lazy"}
    metadata = install("acme-lazy", source=source, models=models, requires=requires) / "METADATA"
    metadata.write_text(metadata.read_text() + "Provides-Extra: fast\n")
    assert run_one_check("lazy", "check_metadata").status == "passed"


def test_modules_of_the_plugin_itself_and_what_they_import_are_followed(install: Installer) -> None:
    (install.folder / "acme_helper.py").write_text("import yaml\n")
    install.modules.append("acme_helper")
    result = check_imports(install, "import acme_helper\n")
    assert "acme_helper.py, line 1 imports 'yaml'" in result.detail
    assert "imports 'acme_helper'" not in result.detail
