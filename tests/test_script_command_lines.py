"""The static validator follows the options of the usual command-line and settings libraries to their defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract_scripts import SMALL_CONTRACT, WORK, find_unproven, validate_small
from fusionzoo.contracts import TABULAR_PREPROCESS_CONTRACT

PROGRAMS = {
    "argparse parents": """
import argparse
base = argparse.ArgumentParser(add_help=False)
base.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
parser = argparse.ArgumentParser(parents=[base])
parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
args = parser.parse_args()
work(train=args.train, model=args.model_dir)
""",
    "argparse commands with a function": """
import argparse
def evaluate(args): print("evaluate")
parser = argparse.ArgumentParser()
commands = parser.add_subparsers(dest="command")
commands.add_parser("train").set_defaults(run=lambda args: work())
commands.add_parser("eval").set_defaults(run=evaluate)
args = parser.parse_args()
args.run(args)
""",
    "argparse namespace": """
import argparse
class Args(argparse.Namespace):
    train: str = T
parser = argparse.ArgumentParser()
parser.add_argument("--train")
parser.add_argument("--val", default=V)
args = parser.parse_args(namespace=Args())
work(args.train, args.val)
""",
    "argparse given list": """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--train", "-t", default="/wrong")
parser.add_argument("--val", default="/wrong")
args = parser.parse_args(["-t", T, f"--val={V}"])
work(args.train, args.val)
""",
    "argparse __dict__": """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--train", default=T)
work(parser.parse_args().__dict__["train"])
""",
    "click": """
import click
@click.command()
@click.option("--train", envvar="SM_CHANNEL_TRAIN")
@click.option("--model-dir", "model", envvar=["MODEL", "SM_MODEL_DIR"], type=click.Path())
@click.option("--out", default=O)
def main(train, model, out):
    work(train=train, model=model, out=out)
main()
""",
    "typer": """
import typer
from pathlib import Path
from typing import Annotated
app = typer.Typer()
@app.command()
def main(train: Annotated[Path, typer.Option(envvar="SM_CHANNEL_TRAIN")] = Path("x"),
         model: Path = typer.Option("m", envvar="SM_MODEL_DIR"), out: Path = Path(O)):
    work(train=train, model=model, out=out / "")
app()
""",
    "typer.run": """
import typer
def main(train: str = typer.Option(..., envvar="SM_CHANNEL_TRAIN")):
    work(train)
typer.run(main)
""",
    "fire class": """
import fire
class Job:
    def __init__(self, train=T): self.train = train
    def run(self, val=V): work(self.train, val)
fire.Fire(Job)
""",
    "fire dict": 'import fire\nfire.Fire({"run": work})\n',
    "fire module": "import fire\nfire.Fire()\n",
    "absl": """
from absl import app, flags
FLAGS = flags.FLAGS
flags.DEFINE_string("train", T, "the training data")
VAL = flags.DEFINE_string("val", V, "the validation data")
def main(argv):
    work(FLAGS.train, VAL.value)
app.run(main)
""",
    "getopt": """
import getopt, sys
train = T
for option, value in getopt.getopt(sys.argv[1:], "t:")[0]:
    if option == "-t":
        train = value
work(train)
""",
    "settings with a prefix": """
from pydantic_settings import BaseSettings, SettingsConfigDict
class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SM_")
    channel_train: str
    model_dir: str = "x"
work(train=Settings().channel_train, model=Settings().model_dir)
""",
    "settings with aliases": """
from pydantic import AliasChoices, BaseSettings, Field
class Settings(BaseSettings):
    train: str = Field(alias="SM_CHANNEL_TRAIN")
    val: str = Field(validation_alias=AliasChoices("SM_CHANNEL_VALIDATION"))
    model: str = Field("x", env="SM_MODEL_DIR")
    class Config:
        env_prefix = "JOB_"
settings = Settings()
work(settings.train, settings.val, settings.model)
""",
    "SM_TRAINING_ENV": """
env = json.loads(os.environ["SM_TRAINING_ENV"])
work(env["channel_input_dirs"]["train"], env["channel_input_dirs"]["validation"], env["model_dir"])
""",
    "SM_CHANNELS": """
for name in json.loads(os.environ["SM_CHANNELS"]):
    pd.read_csv(os.environ[f"SM_CHANNEL_{name.upper()}"] + "/a.csv")
work("/tmp", "/tmp")
""",
    "toolkit": """
from sagemaker_training import environment
env = environment.Environment()
work(env.channel_input_dirs["train"], env.channel_input_dirs["validation"], env.model_dir, env.output_data_dir)
""",
    "variable of SageMaker in os.environ": """
work(os.environ["SM_CHANNEL_TRAIN"] if "SM_CHANNEL_TRAIN" in os.environ else "data")
""",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_path_is_proven(tmp_path: Path, program: str) -> None:
    report = validate_small(tmp_path, WORK + PROGRAMS[program])
    assert (report.errors, find_unproven(report)) == ([], {})


def test_a_declared_default_alone_is_no_use(tmp_path: Path) -> None:
    source = (
        "from pydantic import BaseModel, Field\nclass Job(BaseModel):\n    train: str = Field('/opt/ml/model')\nJob()"
    )
    report = validate_small(tmp_path, source)
    assert set(find_unproven(report).values()) == {"missing"}


def test_a_required_variable_of_settings_is_read(tmp_path: Path) -> None:
    source = "from pydantic_settings import BaseSettings\nclass Settings(BaseSettings):\n"
    source += "    model_config = {'env_prefix': 'JOB_'}\n    region: str\nSettings()\nwork()\n"
    script = tmp_path / "train.py"
    script.write_text(WORK + source, "utf-8")
    contract = SMALL_CONTRACT.model_copy(update={"required_env_vars": ["JOB_REGION"]})
    assert contract.validate_implementation(script).errors == []


@pytest.mark.parametrize(
    "source",
    [
        "import click\n@click.command()\n@click.option('--label-name')\ndef main(label_name): pass\nmain()\n",
        "import typer\napp = typer.Typer()\n@app.command()\ndef main(label_name: str): pass\napp()\n",
        "import typer\ndef main(label_name: str = 'x'): pass\ntyper.run(main)\n",
        "from absl import flags\nflags.DEFINE_string('label-name', None, 'the label')\n",
    ],
)
def test_the_definition_of_an_option_is_found(tmp_path: Path, source: str) -> None:
    script = tmp_path / "preprocess.py"
    script.write_text(source, "utf-8")
    report = TABULAR_PREPROCESS_CONTRACT.validate_implementation(script)
    missing = [one for one in report.warnings if one.startswith("The definition of the command-line option")]
    assert missing
    assert not any("--label-name" in one for one in missing)
