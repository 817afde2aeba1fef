"""The static validator follows the less common ways in which a script builds a path, runs code and writes a file."""

# ruff: noqa: E501 - one program per line
from __future__ import annotations

from pathlib import Path

import pytest

from contract_scripts import SMALL_CONTRACT, WORK, find_unproven, validate_small

CLASSES = {
    "property()": "class Job:\n    def get(self): return T\n    train = property(get)\nwork(Job().train)",
    "staticmethod()": "class Job:\n    train = staticmethod(lambda: T)\nwork(Job.train())",
    "descriptor": "class Env:\n    def __init__(self, name): self.name = name\n"
    "    def __get__(self, one, owner=None): return os.environ[self.name]\n"
    "class Job:\n    train = Env('SM_CHANNEL_TRAIN')\n    val = Env('SM_CHANNEL_VALIDATION')\nwork(Job().train, Job.val)",
    "__new__": "class Job:\n    one = None\n    def __new__(cls):\n        if cls.one is None:\n"
    "            cls.one = super().__new__(cls)\n            cls.one.train = T\n        return cls.one\nwork(Job().train)",
    "__init_subclass__": "class Base:\n    found = {}\n    def __init_subclass__(cls, name, **kwargs):\n"
    "        Base.found[name] = cls\nclass Job(Base, name='job'):\n    train = T\nwork(Base.found['job'].train)",
    "method of a text enum": "from enum import Enum\nclass Channel(str, Enum):\n    TRAIN = 'train'\n    VAL = 'validation'\n"
    "    @property\n    def path(self): return f'/opt/ml/input/data/{self.value}'\n"
    "    def file(self, name): return os.path.join(self.path, name)\n"
    "work(Channel.TRAIN.path, Channel.VAL.file('x'))",
    "chdir": "os.chdir('/opt/ml')\nwork('input/data/train', os.path.abspath('input/data/validation'), 'model', "
    "os.getcwd() + '/output/data')",
    "contextlib.chdir": "import contextlib\nwith contextlib.chdir('/opt/ml'):\n    work('input/data/train')\n"
    "with open('own.txt', 'w'): pass",
    "suffix of a listed file": "from pathlib import Path\n"
    "files = [file for file in Path(T).iterdir() if file.suffix == '.csv']\npd.read_csv(files[0])\nwork('/tmp')",
    "splitext of a listed file": "for name in os.listdir(T):\n    if os.path.splitext(name)[1] == '.csv':\n"
    "        pd.read_csv(os.path.join(T, name))\nwork('/tmp')",
    "frozen dataclass": "from dataclasses import InitVar, dataclass, field\n@dataclass(frozen=True)\nclass Job:\n"
    "    root: InitVar[str] = '/opt/ml/input/data'\n    train: str = field(init=False)\n    val: str = V\n"
    "    def __post_init__(self, root):\n        object.__setattr__(self, 'train', root + '/train')\nwork(Job().train, Job().val)",
    "super().__setattr__": "class Job:\n    def __init__(self):\n        super().__setattr__('train', T)\nwork(Job().train)",
    "TypedDict": "from typing import TypedDict\nclass Job(TypedDict, total=False):\n    train: str\nwork(Job(train=T)['train'])",
    "OmegaConf": "from dataclasses import dataclass\nfrom omegaconf import OmegaConf\n@dataclass\nclass Job:\n    train: str = T\n"
    "config = OmegaConf.merge(OmegaConf.structured(Job), OmegaConf.from_cli())\nwork(config.train)",
    "decouple": "from decouple import config\nwork(config('TRAIN', default=T))",
    "copy of the environment": "work(dict(os.environ)['SM_CHANNEL_TRAIN'])",
    "queue": "queue = [T, V, M, O]\ntrain = queue.pop(0)\nout = queue.pop()\nwork(train, queue.pop(0), queue.pop(), out)",
    "starmap of a pool": "from multiprocessing import Pool\nwith Pool(2) as pool:\n    pool.starmap(work, [(T, V, M, O)])",
    "nested loops": "for a in range(100):\n  for b in range(100):\n    for c in range(100):\n      for d in range(100):\n"
    "        e = a + b + c + d\nx = [a for a in range(100) for b in range(100) for c in range(100)]\nwork()",
    "generated data": f"DATA = [{','.join(map(str, range(600_000)))}]\nNAMES = {{{','.join(f'{i}: {i}' for i in range(300_000))}}}\n"
    "work()",
}
SCRIPTS = {
    "runpy.run_path": "import runpy\nrunpy.run_path('inner.py', run_name='__main__')",
    "runpy.run_module": "import runpy\nrunpy.run_module('inner', run_name='__main__')",
    "subprocess": "import subprocess, sys\nsubprocess.run([sys.executable, '-u', 'inner.py', '--epochs', '3'], check=True)",
    "subprocess -m": "import subprocess, sys\nsubprocess.check_call([sys.executable, '-m', 'inner'])",
    "torchrun": "import os\nos.system('torchrun --nproc_per_node 2 inner.py')",
    "next to the script": "import os, subprocess\nfolder = os.path.dirname(os.path.abspath(__file__))\n"
    "subprocess.Popen(['python', os.path.join(folder, 'inner.py')]).wait()",
    "spec_from_file_location": "import importlib.util\nspec = importlib.util.spec_from_file_location('inner', 'inner.py')\n"
    "inner = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(inner)\ninner.main()",
    "import_module with a default": "import importlib, os\nimportlib.import_module(os.getenv('X', 'inner')).main()",
    "__getattr__ of a module": "import lazy\nlazy.run()\nfrom lazy import other",
}
WRITERS = {
    "GzipFile": "import gzip\nwith gzip.GzipFile(P, 'wb') as file: file.write(b'')",
    "BZ2File": "import bz2\nbz2.BZ2File(filename=P, mode='w').close()",
    "LZMAFile": "import lzma\nlzma.LZMAFile(P, 'x').close()",
    "FileIO": "import io\nio.FileIO(P, 'w').close()",
    "TarFile": "import tarfile\nwith tarfile.TarFile.open(P, 'w:gz') as archive: archive.add('/tmp')",
    "copy_tree": "from distutils.dir_util import copy_tree\ncopy_tree('/tmp', P)",
    "aiofiles": "import aiofiles, asyncio\nasync def main():\n    async with aiofiles.open(P, mode='w') as file: pass\n"
    "asyncio.run(main())",
    "dictConfig": "import logging.config\nlogging.config.dictConfig({'version': 1, 'handlers': {'f': {'filename': P}}})",
    "ElementTree": "import xml.etree.ElementTree as ET\nET.ElementTree(ET.Element('a')).write(P)",
    "profile": "import cProfile\nprofile = cProfile.Profile()\nprofile.dump_stats(P)",
    "HDFStore": "import pandas as pd\nstore = pd.HDFStore(P, 'w')",
    "ExcelWriter": "import pandas as pd\nwith pd.ExcelWriter(P) as writer: pass",
    "memmap": "import numpy as np\nnp.memmap(P, dtype='f4', mode='w+', shape=(1,))",
    "os.open": "import os\nos.close(os.open(P, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644))",
    "os.open for both": "import os\nos.close(os.open(P, os.O_RDWR | os.O_CREAT))",
    "one of two modes": "import os\nmode = 'w' if os.path.exists(P) else 'a'\nopen(P, mode).close()",
    "write_html": "import plotly.express as px\npx.line().write_html(P)",
}


@pytest.mark.parametrize("program", CLASSES)
def test_every_path_is_proven(tmp_path: Path, program: str) -> None:
    report = validate_small(tmp_path, f"{WORK}{CLASSES[program]}\n")
    assert (report.errors, find_unproven(report)) == ([], {})


@pytest.mark.parametrize("program", SCRIPTS)
def test_another_script_of_the_project_is_followed(tmp_path: Path, program: str) -> None:
    inner = f"{WORK}def main():\n    work()\nif __name__ == '__main__':\n    main()\n"
    lazy = "def __getattr__(name):\n    import inner\n    return inner.work\n"
    report = validate_small(tmp_path, SCRIPTS[program], inner=inner, lazy=lazy)
    assert (report.errors, find_unproven(report)) == ([], {})


def test_a_script_that_starts_itself_again_gets_a_verdict(tmp_path: Path) -> None:
    report = validate_small(tmp_path, f"{WORK}import subprocess\nsubprocess.run(['python', __file__])\nwork()\n")
    assert report.errors == []


def test_a_command_that_runs_no_script_is_not_followed(tmp_path: Path) -> None:
    inner = f"{WORK}work()\n"
    report = validate_small(tmp_path, "import subprocess\nsubprocess.run(['cp', 'inner.py', '/tmp'])\n", inner=inner)
    assert set(find_unproven(report).values()) == {"missing"}


def test_a_folder_that_a_context_manager_changes_is_not_known(tmp_path: Path) -> None:
    change = "from contextlib import contextmanager\n@contextmanager\ndef change(folder):\n    before = os.getcwd()\n"
    change += "    os.chdir(folder)\n    try:\n        yield\n    finally:\n        os.chdir(before)\n"
    report = validate_small(tmp_path, f"{WORK}{change}with change(O):\n    open('x.csv', 'w')\nwork(out='/tmp')\n")
    assert [error.partition(" (")[0] for error in report.errors] == [
        "It cannot be proven that the script writes /opt/ml/output/data"
    ]
    assert not any("does not keep" in warning for warning in report.warnings)


def test_a_script_outside_of_the_project_is_a_note_with_its_place(tmp_path: Path) -> None:
    report = validate_small(tmp_path, f"{WORK}work()\nimport runpy\nrunpy.run_path('/elsewhere/job.py')\n")
    line = len(WORK.splitlines()) + 3
    assert (
        f"{tmp_path / 'train.py'}:{line}: another script runs, which is not followed: /elsewhere/job.py" in report.notes
    )


@pytest.mark.parametrize("program", WRITERS)
def test_a_write_is_proven(tmp_path: Path, program: str) -> None:
    report = validate_small(tmp_path, f"{WORK}work(out='/tmp')\nP = '/opt/ml/output/data/x'\n{WRITERS[program]}\n")
    assert find_unproven(report) == {}


def test_a_read_with_flags_is_no_write_of_an_artifact(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(f"{WORK}work(model='/tmp')\nos.open(M + '/model.pt', os.O_RDONLY | os.O_CLOEXEC)\n", "utf-8")
    contract = SMALL_CONTRACT.model_copy(update={"artifacts": {"model": ["model.pt"]}})
    assert find_unproven(contract.validate_implementation(script)) == {"/opt/ml/model": "missing"}


def test_a_default_of_an_unknown_mapping_is_possible(tmp_path: Path) -> None:
    source = "config = json.load(open('/opt/ml/input/config/hyperparameters.json'))\nwork(config.get('train', T))\n"
    assert find_unproven(validate_small(tmp_path, WORK + source)) == {"/opt/ml/input/data/train": "possible"}


def test_the_mode_of_an_unknown_open_function_counts(tmp_path: Path) -> None:
    report = validate_small(tmp_path, f"{WORK}work(out='/tmp')\nimport cloud\ncloud.open(O + '/x', 'wb').write(b'')\n")
    assert find_unproven(report) == {"/opt/ml/output/data": "possible"}
