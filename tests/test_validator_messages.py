"""What the static validator says where a script cannot be read, or a path cannot be known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contract_scripts import COMPLIANT, SMALL_CONTRACT, WORK, validate, validate_small
from fusionzoo.contracts import PYTORCH_INFERENCE_CONTRACT

TRAIN = "/opt/ml/input/data/train (train)"
LINE = len(WORK.splitlines()) + 1
UNKNOWN = {
    # code after WORK, at LINE: (its place and reason in the error)
    "file content": ("pd.read_csv(json.load(open('/tmp/config'))['train'])", "{place} reads a path that is not known"),
    "joined": ("open(os.path.join(json.loads(input()), 'a'))", "{place} reads a path that is not known"),
    "argument": ("import sys; open(sys.argv[1])", "{place} reads a path that is not known"),
    "code": ("exec(open('other.py').read())", "{place}: code that is passed to exec is not known"),
    "module": ("__import__(input())", "{place}: a module is imported whose name is not known"),
    "loaded file": (
        "import importlib.util as u; u.spec_from_file_location('a', '/a.py')",
        "{place}: a module is loaded",
    ),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_the_error_says_where_a_path_cannot_be_known(tmp_path: Path, kind: str) -> None:
    code, reason = UNKNOWN[kind]
    report = validate_small(tmp_path, f"{WORK}{code}\nwork('/tmp')\n")
    start = f"It cannot be proven that the script reads {TRAIN}: "
    shown = reason.format(place=f"{tmp_path / 'train.py'}:{LINE}")
    (error,) = [error for error in report.errors if error.startswith(start)]
    assert shown in error
    assert "uses /opt/ml/input/data/validation" in error  # another input may be read in its place


def test_an_error_is_definite_if_everything_is_known(tmp_path: Path) -> None:
    errors = validate_small(tmp_path, f"{WORK}import io\npd.read_csv(io.StringIO('a'))\nwork('/tmp')\n").errors
    assert [error.partition(",")[0] for error in errors] == [f"The script never reads {TRAIN}"]


def test_a_write_of_unknown_direction_does_not_excuse_an_input(tmp_path: Path) -> None:
    errors = validate_small(tmp_path, f"{WORK}open(input(), 'w')\nwork('/tmp')\n").errors
    assert errors[0].startswith("The script never reads")


def test_a_notebook_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4}), "utf-8")
    (error,) = SMALL_CONTRACT.validate_implementation(tmp_path / "train.py").errors
    assert "it is a Jupyter notebook" in error
    assert "Fix: Export it" in error


def test_utf_16_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_bytes(WORK.encode("utf-16"))
    (error,) = SMALL_CONTRACT.validate_implementation(tmp_path / "train.py").errors
    assert "it is UTF-16" in error
    assert "Save the file as UTF-8" in error


@pytest.mark.parametrize(
    ("path", "shown"),
    [("'x.csv'", "x.csv"), ("os.path.join(os.path.dirname(os.path.abspath(__file__)), 'out/x.csv')", "out/x.csv")],
)
def test_a_write_next_to_the_script_is_a_warning(tmp_path: Path, path: str, shown: str) -> None:
    report = validate_small(tmp_path, f"{WORK}work()\npd.DataFrame().to_csv({path})\n")
    start = f"{tmp_path / 'train.py'}:{LINE + 1}: the script writes {shown} in the folder of the code"
    assert any(warning.startswith(start) for warning in report.warnings)
    assert report.errors == []


@pytest.mark.parametrize(
    "code",
    [
        "os.chdir(input())\nopen('x.csv', 'w')",
        "import tempfile\nopen(os.path.join(tempfile.mkdtemp(), 'x.csv'), 'w')",
        "from pathlib import Path\nPath(input()).with_name('x.csv').write_text('')",
        "open(os.path.join(os.path.dirname(input()), 'x.csv'), 'w')",
        "import fsspec\nfsspec.open('s3://bucket/x.csv', 'w')",
    ],
)
def test_a_write_elsewhere_is_no_warning(tmp_path: Path, code: str) -> None:
    warnings = validate_small(tmp_path, f"{WORK}work()\n{code}\n").warnings
    assert not any("does not keep" in warning for warning in warnings)


def test_the_home_folder_in_a_variable_is_an_error(tmp_path: Path) -> None:
    (error,) = validate_small(tmp_path, f"{WORK}work()\nopen(os.environ['HOME'] + '/x', 'w')\n").errors
    assert "below the home folder of the user" in error


DEFINED = {
    "methods": "class Handler:\n    def load(self, model_dir): return open(model_dir + '/model.onnx')\n"
    "    def one(self, a, b): return a\nhandler = Handler()\nmodel_fn = handler.load\n"
    "input_fn = predict_fn = output_fn = handler.one\n",
    "partial and lambda": "from functools import partial\n"
    "def load(name, model_dir): return open(f'{model_dir}/{name}')\n"
    "model_fn = partial(load, 'model.onnx')\ninput_fn = predict_fn = output_fn = lambda a, b: a\n",
    "a library": "from handlers import input_fn, output_fn, predict_fn\ndef model_fn(model_dir, context):\n"
    "    return open(model_dir + '/model.onnx')\n",
    "any arguments": "def model_fn(*args): return open('/opt/ml/model/model.onnx')\n"
    "def input_fn(body, type, context=None): return body\npredict_fn = output_fn = input_fn\n",
}


@pytest.mark.parametrize("kind", DEFINED)
def test_a_function_of_an_endpoint_may_be_any_callable(tmp_path: Path, kind: str) -> None:
    (tmp_path / "inference.py").write_text(DEFINED[kind], "utf-8")
    assert PYTORCH_INFERENCE_CONTRACT.validate_implementation(tmp_path / "inference.py").errors == []


@pytest.mark.parametrize("parameters", ["", "request_body", "a, b, c, d", "a, b, *, c"])
def test_a_function_that_an_endpoint_cannot_call_is_an_error(tmp_path: Path, parameters: str) -> None:
    source = f"def input_fn({parameters}): pass\n{DEFINED['any arguments'].replace('def input_fn', 'def predict_fn')}"
    script = tmp_path / "inference.py"
    script.write_text(source.replace("predict_fn = output_fn = input_fn", "output_fn = predict_fn"), "utf-8")
    (error,) = PYTORCH_INFERENCE_CONTRACT.validate_implementation(script).errors
    assert error.startswith(
        f"{script}:1: input_fn does not accept the arguments of input_fn(request_body, content_type)"
    )


REQUIREMENTS = {
    # the content of requirements.txt: the lines that exclude the contract's torch==2.1.2 or pandas==2.1.4
    "a local version": ("torch==2.1.2+cu121\npandas<3\n", []),
    "another local version": ("torch==2.2.0+cu121\n", [1]),
    "another platform": ('torch==2.0.0; sys_platform == "win32"\ntorch==2.1.2; sys_platform == "linux"\n', []),
    "another Python": ('torch==2.0.0; python_version < "3.8"\n', []),
    "an extra": ('torch==2.0.0; extra == "old"\n', []),
    "hashes": (
        "pandas==2.1.4 \\\n    --hash=sha256:ab\ntorch==2.0.0 \\\n    --hash=sha256:cd \\\n    --hash=sha256:ef\n",
        [3],
    ),
    "a continued line": ("torch\\\n==2.0.0", [1]),
    "a byte order mark": ("\ufefftorch==2.0.0\r\n", [1]),
}


@pytest.mark.parametrize("kind", REQUIREMENTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_requirements_are_read_like_pip_reads_them(tmp_path: Path, kind: str, encoding: str) -> None:
    content, lines = REQUIREMENTS[kind]
    (tmp_path / "requirements.txt").write_text(content.lstrip("\ufeff" if encoding == "utf-16" else ""), encoding)
    errors = validate(tmp_path, COMPLIANT).errors
    assert [error.partition(" excludes")[0].split(":")[1] for error in errors] == [str(line) for line in lines]
