"""The static validator's report: what complies, what does not, and that no script can break it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contract_scripts import COMPLIANT, validate
from fusionzoo.cli.commands import app
from fusionzoo.contracts import PYTORCH_INFERENCE_CONTRACT, PYTORCH_TRAIN_CONTRACT, ScriptContractValidator, Verdict
from quality_helpers import load_benchmark

ROOT = Path(__file__).parents[1]
VIOLATIONS = {
    # what is wrong: (code of the script, code instead, its line, part of the error)
    "an output in an input folder": (
        'Path(output_path, "metrics.json")',
        'Path(train_path, "metrics.json")',
        'Path(train_path, "metrics.json")',
        "writes /opt/ml/input/data/train/metrics.json, inside of the input",
    ),
    "a path is swapped": (
        'os.path.join(model_path, "model.pth")',
        'os.path.join(output_path, "model.pth")',
        'os.path.join(output_path, "model.pth")',
        "but the contract lists model.pth in /opt/ml/model",
    ),
    "the failure file is in the wrong place": (
        "    main()\n",
        "    Path('/opt/ml/output/data/failure').write_text('cause')\n    main()\n",
        "Path('/opt/ml/output/data/failure')",
        "SageMaker reads the failure file at /opt/ml/output/failure",
    ),
    "a hard-coded home folder": (
        'os.path.join(prefix, "input/config/hyperparameters.json")',
        '"/home/alice/hyperparameters.json"',
        "/home/alice",
        "a hard-coded home folder",
    ),
    "an undeclared path": (
        '"metrics.json").write_text("{}")',
        '"metrics.json").write_text(open("/opt/ml/input/data/extra/x").read())',
        "/opt/ml/input/data/extra",
        "reads /opt/ml/input/data/extra/x, which the contract does not declare",
    ),
}
BAD_FILES: dict[str, tuple[bytes, str]] = {
    "null bytes": (b"a = 1\0", "null bytes"),
    "not UTF-8": ("a = 'é'".encode("latin-1"), "encoding is not valid"),
    "unknown encoding": (b"# coding: nope\n", "unknown encoding"),
    "Python 2": (b"print 'x'\n", "not valid Python"),
    "newer syntax": (b"x = ??\n", "not valid Python"),
    "deep nesting": (b"x = " + b"-" * 50_000 + b"1", "nested too deeply"),
    "random bytes": (bytes(range(1, 256)), ""),
}
CONFUSING = {
    "endless recursion": "def f(n): return f(n + 1) + g(n)\ndef g(n): return f(n) + g(n + 2)\nopen(f(0))",
    "omega": "w = lambda x: x(x)\nw(w)",
    "growing loop": "x = 'a'\nwhile x: x = x + x\nopen(x)",
    "doubling tuple": "x = (1,)\nfor i in range(100): x = (x, x)\nd = {x: 1}\nopen(x)",
    "huge text": "open('a' * 10**9)\ny = [0] * 10**12\nz = '%1000000000d' % 3\nq = f'{3:1000000000}'",
    "huge product": "from itertools import product\nfor t in product(*[range(100)] * 50): open(t)",
    "container in itself": "a = []\na.append(a)\nd = {}\nd['a'] = d\nopen(a)\nopen(d['a']['a'])\nprint(f'{a}{d}')",
    "property calls itself": "class A:\n    @property\n    def p(self): return self.p\nopen(A().p)",
    "__getattr__ calls itself": "class A:\n    def __getattr__(self, n): return getattr(self, n + 'x')\nopen(A().a)",
    "iterates over itself": "class A:\n    def __iter__(self): return iter(self)\nfor x in A(): open(x)",
    "decorator calls itself": "def d(f): return d(f)\n@d\ndef g(): pass\ng()",
    "code in texts": "s = 'exec(s)'\nexec(s)\neval('eval(s)')\nexec('(' * 10000)",
    "imports itself": "import train\nfrom train import *\nfrom . import x\nfrom .... import y\nimport a.b.c",
    "wrong arguments": "open()\nstr.join()\nmap()\nnext()\nrange(1, 2, 0)\n'{'.format()\n'%' % 1\n[1][::0]\nsuper()\n"
    "import os, argparse, functools\nos.path.join()\nfunctools.reduce()\nargparse.ArgumentParser().add_argument()",
    "undefined names": "open(nope)\nnope.a.b.c()\nnope[1][2] = 3\nnope += 1\nfor x in nope: x()\ndel nope, x.y",
    "private characters": "open('/opt/ml/\U000f0000/x')\nopen('\ud7ff\U000f0005')",
    "replaced functions": "import os\n"
    "os.path.join = lambda *a: 'x'\nos.environ = {}\nopen(os.path.join('/opt/ml/model'))",
}


def errors_of(folder: Path, source: str) -> list[str]:
    return validate(folder, source).errors


def test_the_snippet_of_the_contract_is_compliant(tmp_path: Path) -> None:
    report = validate(tmp_path, COMPLIANT)
    assert report.summary == "train.py vs TrainingScriptContract: COMPLIANT"
    assert (report.is_valid, report.errors) == (True, [])
    evidence = report.evidence["/opt/ml/input/data/val"][0]
    expected = (str(tmp_path / "train.py"), 'return pd.read_csv(os.path.join(folder, "part-0.csv"))', "read")
    assert (evidence.file, evidence.expression, evidence.access.value) == expected
    assert evidence.line == 1 + COMPLIANT.splitlines().index(f"    {evidence.expression}")


def test_the_snippet_in_three_modules_is_compliant(tmp_path: Path) -> None:
    head, _, rest = COMPLIANT.partition("def load")
    body, _, main = f"def load{rest}".partition("def main")
    report = validate(
        tmp_path,
        f"import job_io as io\nfrom job_paths import *\nload = io.load\n\ndef main{main}",
        job_paths=head,
        job_io=f"from job_paths import os, pd\n{body}",
    )
    assert (report.errors, report.evidence["/opt/ml/input/data/train"][0].file) == ([], str(tmp_path / "job_io.py"))


def test_every_mutation_of_the_benchmark_changes_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = load_benchmark(monkeypatch, "contract_mutations")
    for name, (file, before, _) in benchmark.MUTATIONS.items():
        folder = benchmark.ROOT / "core" if file.startswith(benchmark.PACKAGE) else benchmark.ROOT
        assert (folder / file).read_text("utf-8").count(before) == 1, name


def test_our_own_train_py_is_compliant_and_every_required_path_is_proven() -> None:
    report = ScriptContractValidator(ROOT).validate_script("train.py")
    assert report.errors == []
    contract = PYTORCH_TRAIN_CONTRACT
    paths = {**contract.expected_input_paths, **contract.expected_output_paths}
    required = [path for name, path in paths.items() if name not in contract.optional_paths]
    assert {path: report.verdicts[path] for path in required} == dict.fromkeys(required, Verdict.PROVEN)
    assert [path for path, verdict in report.verdicts.items() if verdict is Verdict.MISSING] == []


def test_a_script_that_lists_the_paths_and_touches_nothing_is_not_compliant(tmp_path: Path) -> None:
    paths = [*PYTORCH_TRAIN_CONTRACT.expected_input_paths.values()]
    report = validate(tmp_path, f"PATHS = {paths!r}\nfor path in PATHS:\n    print(path + '/x')\n")
    assert not report.is_valid
    assert set(report.verdicts.values()) == {Verdict.MISSING}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_a_violation_is_found_with_its_line(tmp_path: Path, violation: str) -> None:
    before, after, marked, message = VIOLATIONS[violation]
    assert before in COMPLIANT
    source = COMPLIANT.replace(before, after)
    line = 1 + next(i for i, text in enumerate(source.splitlines()) if marked in text)
    errors = errors_of(tmp_path, source)
    assert any(error.startswith(f"{tmp_path / 'train.py'}:{line}: ") and message in error for error in errors), errors


def test_an_input_that_is_not_read_is_named(tmp_path: Path) -> None:
    errors = errors_of(tmp_path, COMPLIANT.replace("(train_path, val_path, test_path)", "(train_path, test_path)"))
    assert [error.partition(",")[0] for error in errors] == ["The script never reads /opt/ml/input/data/val (val_data)"]


def test_the_places_are_named_where_another_input_may_be_read_by_mistake(tmp_path: Path) -> None:
    source = COMPLIANT.replace('os.path.join(input_path, "val")', 'os.path.join(input_path, "train")')
    (error,) = errors_of(tmp_path, source)
    line = 1 + next(i for i, text in enumerate(source.splitlines()) if "pd.read_csv" in text)
    assert error.startswith("The script never reads /opt/ml/input/data/val (val_data), but ")
    assert f"{tmp_path / 'train.py'}:{line} uses /opt/ml/input/data/train" in error


def test_environment_variables_are_checked(tmp_path: Path) -> None:
    contract = PYTORCH_TRAIN_CONTRACT.model_copy(update={"required_env_vars": ["REGION"]})
    script = tmp_path / "train.py"
    script.write_text(f"import os\nos.getenv('STAGE')\n{COMPLIANT}", "utf-8")
    report = contract.validate_implementation(script)
    assert "required environment variable REGION" in report.errors[0]
    assert any(f"{script}:2: the script reads the environment variable STAGE" in one for one in report.warnings)


def test_a_requirement_that_excludes_the_version_of_the_contract_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pandas>=2.0\n# torch==1\ntorch==2.2.0  # newer\n", "utf-8")
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["pyarrow<14"]\n', "utf-8")
    errors = errors_of(tmp_path, COMPLIANT)
    assert [error.partition(" excludes")[0] for error in errors] == [
        f"{tmp_path / 'requirements.txt'}:3: torch==2.2.0",
        f"{tmp_path / 'pyproject.toml'}:2: pyarrow<14",
    ]


def test_a_lazy_import_counts_as_an_import(tmp_path: Path) -> None:
    report = validate(tmp_path, COMPLIANT.replace("def main():\n", "def main():\n    import xgboost\n"))
    assert any("requires no version of these packages" in one and "xgboost" in one for one in report.warnings)


def test_the_functions_of_an_endpoint_are_required(tmp_path: Path) -> None:
    script = tmp_path / "inference.py"
    functions = ["input_fn(request_body, content_type)", "predict_fn(data, model)", "output_fn(prediction, accept)"]
    source = "def model_fn(model_dir): return open(model_dir + '/model.onnx')\n"
    script.write_text(source + "\n".join(f"def {one}: pass" for one in functions[1:]), "utf-8")
    report = PYTORCH_INFERENCE_CONTRACT.validate_implementation(script)
    assert [functions[0] in error for error in report.errors] == [True]
    assert report.verdicts["/opt/ml/model"] is Verdict.PROVEN


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_is_not_a_script_is_an_error_in_the_report(tmp_path: Path, kind: str) -> None:
    content, message = BAD_FILES[kind]
    script = tmp_path / "train.py"
    script.write_bytes(content)
    report = PYTORCH_TRAIN_CONTRACT.validate_implementation(script)
    assert message in report.errors[0]
    assert "Fix:" in report.errors[0]


def test_a_missing_file_a_folder_and_a_loop_of_links_are_errors_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
    for name in ("nothing.py", "", "loop.py", "x" * 5000):
        report = ScriptContractValidator(tmp_path).validate_script(name)
        assert (report.is_valid, len(report.errors)) == (False, 1)


@pytest.mark.parametrize("program", CONFUSING)
def test_a_confusing_program_gets_a_verdict(tmp_path: Path, program: str) -> None:
    marker = tmp_path / "marker"
    source = f"{CONFUSING[program]}\nopen({str(marker)!r}, 'w')\nopen('/opt/ml/model/x', 'w')\n"
    report = validate(tmp_path, source)
    assert not report.is_valid
    assert not marker.exists()  # nothing was run


def test_the_analysis_says_when_its_steps_were_not_enough(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import sys\n" + "print(1)\n" * 500, "utf-8")
    report = ScriptContractValidator(tmp_path, max_steps=100).validate_script("train.py")
    assert "the analysis stopped after 100 steps" in report.notes


def test_the_command_prints_the_evidence_and_exits_with_the_verdict(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(COMPLIANT, "utf-8")
    result = CliRunner().invoke(app, ["contract", "validate", str(script)])
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "train.py vs TrainingScriptContract: COMPLIANT")
    assert "read_csv" in result.output
    script.write_text("print(1)", "utf-8")
    result = CliRunner().invoke(app, ["contract", "validate", str(script), "--json"])
    content = json.loads(result.output)
    assert (result.exit_code, content["is_valid"], content["verdicts"]["/opt/ml/model"]) == (1, False, "missing")
