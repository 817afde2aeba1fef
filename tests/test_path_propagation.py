"""The static validator follows a path from where it is built to where it is used."""

from __future__ import annotations

import pytest

from contract_scripts import judge_source
from fusionzoo.contracts import Verdict
from path_constructions import WAYS

TRAIN, VAL, MODEL = "/opt/ml/input/data/train", "/opt/ml/input/data/val", "/opt/ml/model"
READERS = {
    "open": "open(p)",
    "with open": "with open(p) as f: f.read()",
    "Path.open": "from pathlib import Path\nPath(p).open('rb')",
    "read_text": "from pathlib import Path\n(Path(p) / 'x').read_text()",
    "pandas": "import pandas as pd\npd.read_csv(p + '/x.csv')",
    "pandas in a loop": "import glob, pandas as pd\npd.concat([pd.read_csv(f) for f in glob.glob(p + '/*.csv')])",
    "pandas in map": "import os, pandas as pd\nlist(map(pd.read_csv, (os.path.join(p, n) for n in os.listdir(p))))",
    "pyarrow": "import pyarrow.parquet as pq\npq.read_table(p)",
    "pyarrow.dataset": "from pyarrow import dataset as ds\nds.dataset(source=p)",
    "torch": "import torch\ntorch.load(p + '/t.pt', weights_only=True)",
    "numpy": "import numpy as np\nnp.load(p + '/t.npy')",
    "walk": "import os\nfor r, _, fs in os.walk(p):\n    for f in fs: open(os.path.join(r, f))",
    "rglob": "from pathlib import Path\nfor f in sorted(Path(p).rglob('*')): f.read_bytes()",
    "copytree": "import shutil\nshutil.copytree(p, '/tmp/x')",
    "datasets": "from datasets import load_dataset\nload_dataset('csv', data_files={'train': p + '/x.csv'})",
    "load_from_disk": "import datasets\ndatasets.load_from_disk(p)",
    "ImageFolder": "from torchvision import datasets\ndatasets.ImageFolder(p)",
    "getattr": "import pandas\ngetattr(pandas, 'read_csv')(p)",
    "alias": "import pandas\nread = pandas.read_csv\nread(p)",
    "thread pool": "from concurrent.futures import ThreadPoolExecutor\nimport pandas as pd\n"
    "with ThreadPoolExecutor() as pool: list(pool.map(pd.read_csv, [p]))",
    "submit": "from concurrent.futures import ProcessPoolExecutor as P\ndef f(x): return open(x)\n"
    "with P() as pool: pool.submit(f, p)",
    "thread": "import threading\nthreading.Thread(target=lambda x: open(x), args=(p,)).start()",
    "dataset hook": "import torch\nclass D(torch.utils.data.Dataset):\n    def __init__(self, d): self.d = d\n"
    "    def __getitem__(self, i): return open(self.d + '/x')\ntorch.utils.data.DataLoader(D(p))",
    "data module": "import lightning as L\nclass D(L.LightningDataModule):\n    def setup(self, stage): self.f = p\n"
    "    def train_dataloader(self): return open(self.f)\nL.Trainer().fit(None, datamodule=D())",
}
WRITERS = {
    "torch": "import torch\ntorch.save({}, p + '/model.pth')",
    "keyword": "import torch\ntorch.save(obj={}, f=p + '/model.pth')",
    "write_text": "from pathlib import Path\n(Path(p) / 'x').write_text('')",
    "mode": "open(p + '/x', mode='a')",
    "to_csv": "import pandas as pd\npd.DataFrame().to_csv(p + '/x.csv', index=False)",
    "to_parquet": "import pandas as pd\ndf = pd.read_csv('x')\ndf[df.a > 1].to_parquet(path=p)",
    "savefig": "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nfig.savefig(p + '/x.png')",
    "onnx": "import torch\ntorch.onnx.export(m, (), p + '/m.onnx')",
    "joblib": "import joblib\njoblib.dump({}, p + '/m')",
    "pickle": "import pickle\nwith open(p + '/m', 'wb') as f: pickle.dump({}, f)",
    "save_pretrained": "from transformers import AutoModel\nAutoModel.from_pretrained('x').save_pretrained(p)",
    "Trainer": "from lightning.pytorch import Trainer\nTrainer(default_root_dir=p)",
    "ModelCheckpoint": "import lightning as L\nL.pytorch.callbacks.ModelCheckpoint(dirpath=p)",
    "SummaryWriter": "from torch.utils.tensorboard import SummaryWriter\nSummaryWriter(p)",
    "TrainingArguments": "from transformers import TrainingArguments\nTrainingArguments(output_dir=p)",
    "copy": "import shutil\nshutil.copy('/tmp/x', p)",
    "replace": "import os\nos.replace('/tmp/x', os.path.join(p, 'x'))",
    "archive": "import tarfile\nwith tarfile.open(p + '/x.tar.gz', 'w:gz') as t: t.add('/tmp/x')",
    "atexit": "import atexit\natexit.register(lambda: open(p, 'w'))",
    "callback": "import lightning as L\nclass C(L.Callback):\n    def on_train_end(self, t, m): t.save_checkpoint(p)\n"
    "L.Trainer(callbacks=[C()])",
}
HARMLESS = {
    "print": "print(p)",
    "log": "import logging\nlogging.getLogger().info('%s', p)",
    "exists": "import os\nassert os.path.exists(p) and os.path.isdir(p)",
    "list of paths": "PATHS = [p]\nfor q in PATHS: print(q)",
    "text of a file": "with open('/tmp/x', 'w') as f: f.write(p)",
    "own function named open": "def open(*a): return None\nopen(p)",
    "own class": "class torch:\n    @staticmethod\n    def load(x): return x\ntorch.load(p)",
    "dead function": "def f(): open(p)",
    "false condition": "if False: open(p)\nif 1 > 2: open(p)",
    "type checking": "from typing import TYPE_CHECKING\nif TYPE_CHECKING: open(p)",
    "after exit": "import sys\nsys.exit(0)\nopen(p)",
    "after raise": "def f():\n    raise ValueError\n    open(p)\nf()",
    "comment and docstring": "'''open(p)'''\n# open(p)",
    "other module": "if __name__ == 'other': open(p)",
    "path of another kind": "open(p.replace('/opt/ml', '/tmp'))\nopen('x' + p)",
    "longer name": "open(p.rstrip('/') + '2')",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_path_is_proven_however_it_is_built(way: str) -> None:
    found = judge_source(f"{WAYS[way]}\nopen(p)\n")
    used = {path for path, verdict in found.verdicts.items() if verdict is not Verdict.MISSING}
    assert (found.verdicts[TRAIN], used) == (Verdict.PROVEN, {TRAIN})


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_proves_an_input(reader: str) -> None:
    assert judge_source(f"p = '{TRAIN}'\n{READERS[reader]}\n").verdicts[TRAIN] is Verdict.PROVEN


@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_proves_an_output(writer: str) -> None:
    assert judge_source(f"p = '{MODEL}'\n{WRITERS[writer]}\n").verdicts[MODEL] is Verdict.PROVEN


@pytest.mark.parametrize("statement", HARMLESS)
def test_a_path_that_is_not_opened_is_missing(statement: str) -> None:
    for path in (TRAIN, MODEL):
        assert judge_source(f"p = '{path}'\n{HARMLESS[statement]}\n").verdicts[path] is Verdict.MISSING


@pytest.mark.parametrize(
    "source",
    [
        f"import sys\np = '{TRAIN}' if sys.argv[1] else '{VAL}'\nopen(p)",
        f"import sys\np = '{TRAIN}'\nif len(sys.argv) > 1: p = '{VAL}'\nopen(p)",
        "import sys\nopen('/opt/ml/input/data/' + sys.argv[1])",
        f"import os\nos.listdir('{TRAIN}')\nos.listdir('{VAL}')",
        f"import somewhere\nsomewhere.consume('{TRAIN}', folder='{VAL}')",
        f"import subprocess\nsubprocess.run(['cp', '{TRAIN}/x', '{VAL}/y', '/tmp'])",
        "import shutil\nshutil.copytree('/opt/ml/input/data', '/tmp/x')",
    ],
)
def test_a_use_that_is_not_certain_is_possible(source: str) -> None:
    verdicts = judge_source(source).verdicts
    assert (verdicts[TRAIN], verdicts[VAL]) == (Verdict.POSSIBLE, Verdict.POSSIBLE)


def test_both_sides_of_an_unknown_condition_are_used() -> None:
    verdicts = judge_source(f"import sys\nif sys.argv[1]: open('{TRAIN}')\nelse: open('{VAL}')").verdicts
    assert (verdicts[TRAIN], verdicts[VAL]) == (Verdict.PROVEN, Verdict.PROVEN)


def test_a_folder_that_is_only_created_is_possible() -> None:
    found = judge_source(f"import os\nos.makedirs('{MODEL}', exist_ok=True)")
    assert found.verdicts[MODEL] is Verdict.POSSIBLE
