"""Which functions and methods of libraries read or write the paths that they are given."""

from __future__ import annotations

from dataclasses import dataclass

from fusionzoo.contracts.static.file_operations import CREATE, DELETE, LIST, READ, TOUCH, WRITE


@dataclass(frozen=True)
class PathArgument:
    """An argument that is a path: its position (-1 for a keyword only), its names, and what happens to the path."""

    position: int
    names: tuple[str, ...]
    direction: str
    inner: tuple[str, str] = ("", "")
    """The argument with the name inside of the path, and the suffix of that name."""


def _table(direction: str, position: int, names: str, functions: str) -> dict[str, tuple[PathArgument, ...]]:
    argument = PathArgument(position, tuple(names.split()), direction)
    return dict.fromkeys(functions.split(), (argument,))


def _pair(first: str, second: str, functions: str, names: str = "src dst") -> dict[str, tuple[PathArgument, ...]]:
    source, target = names.split()
    both = (PathArgument(0, (source,), first), PathArgument(1, (target,), second))
    return dict.fromkeys(functions.split(), both)


READERS = "read_csv read_parquet read_json read_excel read_pickle read_feather read_table read_hdf read_orc read_xml"
SCANNERS = "scan_csv scan_parquet scan_ndjson scan_ipc read_ipc read_ndjson read_avro"
FUNCTIONS: dict[str, tuple[PathArgument, ...]] = {
    **_table(
        READ,
        0,
        "filepath_or_buffer path path_or_buf io",
        " ".join(f"{module}.{reader}" for module in ("pandas", "modin.pandas", "cudf") for reader in READERS.split())
        + " pandas.read_fwf pandas.read_sas pandas.read_stata dask.dataframe.read_csv dask.dataframe.read_parquet"
        " dask.dataframe.read_json",
    ),
    **_table(READ, 0, "source", " ".join(f"polars.{name}" for name in f"{READERS} {SCANNERS}".split())),
    **_table(READ, 0, "file fname", "numpy.load numpy.loadtxt numpy.genfromtxt numpy.fromfile"),
    **_table(WRITE, 0, "file fname", "numpy.save numpy.savez numpy.savez_compressed numpy.savetxt"),
    **_table(
        READ,
        0,
        "source path_or_paths where path input_file",
        "pyarrow.parquet.read_table pyarrow.parquet.ParquetFile pyarrow.parquet.ParquetDataset"
        " pyarrow.parquet.read_schema pyarrow.parquet.read_metadata pyarrow.parquet.read_pandas pyarrow.csv.read_csv"
        " pyarrow.csv.open_csv pyarrow.json.read_json pyarrow.feather.read_table pyarrow.feather.read_feather"
        " pyarrow.dataset.dataset pyarrow.memory_map pyarrow.input_stream pyarrow.ipc.open_file"
        " pyarrow.ipc.open_stream pyarrow.orc.read_table pyarrow.orc.ORCFile",
    ),
    **_table(
        WRITE,
        1,
        "where dest base_dir root_path output_file",
        "pyarrow.parquet.write_table pyarrow.parquet.write_to_dataset pyarrow.csv.write_csv"
        " pyarrow.feather.write_feather pyarrow.dataset.write_dataset pyarrow.orc.write_table",
    ),
    **_table(
        WRITE,
        0,
        "where sink source",
        "pyarrow.parquet.ParquetWriter pyarrow.csv.CSVWriter pyarrow.output_stream pyarrow.ipc.new_file"
        " pyarrow.ipc.new_stream pyarrow.ipc.RecordBatchFileWriter pyarrow.RecordBatchFileWriter",
    ),
    **_table(READ, 0, "f path filename", "torch.load torch.jit.load torch.export.load safetensors.torch.load_file"),
    **_table(READ, 0, "filename", "safetensors.safe_open safetensors.numpy.load_file joblib.load"),
    **_table(WRITE, 1, "f filename", "torch.save torch.jit.save torch.export.save joblib.dump"),
    **_table(WRITE, 1, "filename", "safetensors.torch.save_file safetensors.numpy.save_file"),
    **_table(WRITE, 1, "filename", "safetensors.torch.save_model"),
    **_table(WRITE, 2, "f", "torch.onnx.export torch.onnx.utils.export"),
    **_table(WRITE, 1, "f export_dir path", "onnx.save onnx.save_model tensorflow.saved_model.save"),
    **_table(
        READ,
        0,
        "f model path_or_bytes filepath",
        "onnx.load onnx.load_model onnx.checker.check_model onnxruntime.InferenceSession keras.models.load_model"
        " tensorflow.keras.models.load_model tensorflow.saved_model.load",
    ),
    **_table(READ, 0, "data", "xgboost.DMatrix lightgbm.Dataset catboost.Pool"),
    **_table(READ, -1, "model_file", "xgboost.Booster lightgbm.Booster sentencepiece.SentencePieceProcessor"),
    **_table(READ, 0, "fp filename", "PIL.Image.open cv2.imread imageio.imread torchvision.io.read_image"),
    **_table(READ, 0, "uri file path", "torchaudio.load librosa.load soundfile.read skimage.io.imread"),
    **_table(WRITE, 0, "filename uri file", "cv2.imwrite imageio.imwrite torchaudio.save soundfile.write"),
    **_table(WRITE, 0, "filename uri im", "imageio.v2.imwrite imageio.v3.imwrite imageio.imsave cv2.VideoWriter"),
    **_table(WRITE, 0, "fname", "matplotlib.pyplot.savefig matplotlib.pyplot.imsave matplotlib.image.imsave"),
    **_table(WRITE, 1, "fp", "torchvision.utils.save_image"),
    **_table(WRITE, 0, "path", "pandas.ExcelWriter"),
    **_table(WRITE, 1, "filepath_or_buffer", "pandas.to_pickle"),
    **_table(WRITE, 0, "filename", "dill.dump_session dill.dump_module"),
    **_table(READ, 0, "source", "xml.etree.ElementTree.parse xml.etree.ElementTree.iterparse lxml.etree.parse"),
    **_table(READ, -1, "file", "xml.etree.ElementTree.ElementTree lxml.etree.ElementTree"),
    **_table(
        WRITE,
        0,
        "file_or_filename file",
        "xml.etree.ElementTree.ElementTree.write xml.etree.ElementTree.parse.write lxml.etree.ElementTree.write"
        " lxml.etree.parse.write",
    ),
    **_table(WRITE, 0, "file filename", "cProfile.Profile.dump_stats pstats.Stats.dump_stats"),
    **_table(WRITE, 1, "filename", "cProfile.run profile.run"),
    **_table(READ, 0, "fname", "logging.config.fileConfig"),
    **_table(READ, 0, "dataset_path", "datasets.load_from_disk datasets.Dataset.load_from_disk"),
    "datasets.load_dataset": (
        PathArgument(0, ("path",), READ),
        PathArgument(-1, ("data_files",), READ),
        PathArgument(-1, ("data_dir",), READ),
    ),
    **_table(READ, 0, "files", "fileinput.input fileinput.FileInput"),
    **_table(READ, 0, "filename", "linecache.getline linecache.getlines configparser.ConfigParser.read"),
    **_table(READ, 0, "path_name path", "runpy.run_path tomlkit.load toml.load"),
    **_pair(READ, READ, "filecmp.cmp filecmp.dircmp", "f1 f2"),
    **_pair(READ, WRITE, "shutil.copy shutil.copy2 shutil.copyfile shutil.copytree os.link"),
    **_pair(READ, WRITE, "distutils.dir_util.copy_tree distutils.file_util.copy_file"),
    **_pair(DELETE, WRITE, "shutil.move os.rename os.replace os.renames"),
    **_pair(TOUCH, WRITE, "os.symlink"),
    **_pair(READ, WRITE, "shutil.unpack_archive", "filename extract_dir"),
    "shutil.make_archive": (PathArgument(0, ("base_name",), WRITE), PathArgument(2, ("root_dir",), READ)),
    **_table(DELETE, 0, "path", "shutil.rmtree os.remove os.unlink os.rmdir os.removedirs"),
    **_table(CREATE, 0, "name path", "os.makedirs os.mkdir"),
    **_table(WRITE, 0, "path", "os.mknod os.mkfifo os.truncate"),
    **_table(WRITE, 0, "filename", "logging.FileHandler logging.handlers.RotatingFileHandler"),
    **_table(WRITE, 0, "filename", "logging.handlers.TimedRotatingFileHandler logging.handlers.WatchedFileHandler"),
    **_table(WRITE, -1, "filename", "logging.basicConfig"),
    **_table(TOUCH, 0, "database filename file", "sqlite3.connect shelve.open dbm.open"),
    **_table(TOUCH, 0, "filename", "numpy.lib.format.open_memmap numpy.lib.format.read_magic"),
    **_table(WRITE, 1, "filename", "urllib.request.urlretrieve"),
    **_table(WRITE, -1, "local_dir", "huggingface_hub.snapshot_download huggingface_hub.hf_hub_download"),
    **_table(WRITE, -1, "dir", "wandb.init"),
    **_table(READ, 0, "local_path local_dir", "mlflow.log_artifact mlflow.log_artifacts"),
    **_table(READ, -1, "model tokenizer", "transformers.pipeline"),
    **_table(READ, 0, "path", "fasttext.load_model spacy.load gensim.models.fasttext.load_facebook_vectors"),
    **_table(LIST, 0, "path", "os.fwalk os.chdir"),
}
"""By the full name of a function or class."""

CLASSES: dict[str, tuple[PathArgument, ...]] = {
    **_table(WRITE, -1, "default_root_dir weights_save_path", "Trainer Fabric"),
    "TrainingArguments": (PathArgument(0, ("output_dir",), WRITE), PathArgument(-1, ("logging_dir",), WRITE)),
    "Seq2SeqTrainingArguments": (PathArgument(0, ("output_dir",), WRITE), PathArgument(-1, ("logging_dir",), WRITE)),
    "SFTConfig": (PathArgument(0, ("output_dir",), WRITE), PathArgument(-1, ("logging_dir",), WRITE)),
    "ModelCheckpoint": (PathArgument(0, ("dirpath", "filepath"), WRITE, ("filename", ".ckpt")),),
    "TensorBoardLogger": (PathArgument(0, ("save_dir",), WRITE, ("name", "")),),
    "CSVLogger": (PathArgument(0, ("save_dir",), WRITE, ("name", "")),),
    **_table(WRITE, -1, "save_dir", "WandbLogger MLFlowLogger CometLogger NeptuneLogger"),
    **_table(WRITE, 0, "log_dir logdir", "SummaryWriter EventFileWriter TensorBoard"),
    **_table(WRITE, -1, "project_dir logging_dir", "Accelerator"),
    **_table(READ, 0, "root", "ImageFolder DatasetFolder MNIST FashionMNIST CIFAR10 CIFAR100 ImageNet"),
    **_table(READ, 0, "pretrained_model_name_or_path", "from_pretrained"),
    **_table(READ, 0, "checkpoint_path", "load_from_checkpoint"),
    **_table(READ, 0, "path", "from_file from_disk from_csv from_json from_parquet from_text load_from_disk"),
    **_table(READ, 0, "fname", "load_word2vec_format"),
    **_table(WRITE, 1, "path filepath", "save_model"),
}
"""By the last part of the name, because libraries offer the same class under several modules."""

SAVERS = "to_csv to_parquet to_json to_pickle to_excel to_feather to_hdf to_orc to_stata to_xml to_html to_markdown"
METHODS: dict[str, tuple[PathArgument, ...]] = {
    **_table(WRITE, 0, "path_or_buf path excel_writer buf", SAVERS),
    **_table(
        WRITE,
        0,
        "file",
        "write_html write_image write_csv write_parquet write_json write_ndjson write_ipc write_avro write_excel",
    ),
    **_table(WRITE, 0, "path", "sink_csv sink_parquet sink_ipc to_disk tofile save_as_text"),
    **_table(WRITE, 0, "filepath output_dir fp f path fname filename", "save save_model save_checkpoint save_weights"),
    **_table(WRITE, 0, "save_directory output_dir", "save_pretrained save_state save_vocabulary"),
    **_table(WRITE, 0, "dataset_path", "save_to_disk"),
    **_table(WRITE, 0, "fname", "savefig save_word2vec_format"),
    **_table(WRITE, 2, "Filename", "download_file"),
    **_table(WRITE, 0, "path", "extractall"),
    **_table(READ, 0, "Filename", "upload_file"),
    **_table(READ, 0, "fname path filepath checkpoint_path", "load load_model load_weights load_checkpoint"),
    **_table(READ, -1, "ckpt_path", "fit validate test predict"),
    **_table(READ, -1, "resume_from_checkpoint", "train"),
    **_table(READ, 0, "filenames", "read"),
    **{name: CLASSES[name] for name in ("from_pretrained", "load_from_checkpoint", "from_file", "from_disk")},
    **{name: CLASSES[name] for name in ("load_from_disk", "load_word2vec_format", "from_csv", "from_json")},
}
"""By the name of a method of an object that is not known."""
ARCHIVE_METHODS: dict[str, tuple[PathArgument, ...]] = {
    "add": (PathArgument(0, ("name",), READ),),
    "extractall": (PathArgument(0, ("path",), WRITE),),
    "extract": (PathArgument(1, ("path",), WRITE),),
}
"""Methods of an open archive."""
ZIP_METHODS: dict[str, tuple[PathArgument, ...]] = {**ARCHIVE_METHODS, "write": (PathArgument(0, ("filename",), READ),)}

COMMANDS = frozenset(
    "subprocess.run subprocess.call subprocess.check_call subprocess.check_output subprocess.Popen os.system os.popen"
    " subprocess.getoutput subprocess.getstatusoutput os.execv os.execvp os.execl os.execlp os.spawnv".split()
)
"""Functions that start another program."""
HARMLESS_METHODS = frozenset(
    "info debug warning warn error exception critical log print echo secho format append extend insert update set get"
    " write writelines write_line add_argument add_text add_scalar add_hparams log_param log_params log_metric"
    " log_metrics log_hyperparams log_dict set_description set_postfix display render match search sub findall"
    " add_row add_column register setdefault pop put send join startswith endswith split replace strip".split()
)
"""Methods that do nothing with a path but show or store it."""
HARMLESS_FUNCTIONS = frozenset(
    "click.echo typer.echo rich.print rich.pretty.pprint typer.secho click.secho loguru.logger.info tqdm.tqdm.write"
    " wandb.log mlflow.log_param mlflow.log_params torch.device numpy.array numpy.asarray pandas.DataFrame"
    " pandas.Series pandas.Timestamp pydantic.validate_call pydantic.SecretStr termcolor.colored".split()
)
READ_VERBS = ("read", "load", "open", "from", "scan", "parse", "import")
WRITE_VERBS = ("write", "save", "dump", "export", "to", "store", "serialize", "persist")


def guess_direction(name: str) -> str:
    """Return what a function with an unknown name probably does with a path."""
    verb = name.rpartition(".")[2].lower().split("_")[0]
    if verb.startswith(READ_VERBS):
        return READ
    return WRITE if verb.startswith(WRITE_VERBS) else TOUCH
