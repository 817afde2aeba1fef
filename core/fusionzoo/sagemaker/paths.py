"""What SageMaker lays down: where things are, how it writes settings, how a job ends."""

from __future__ import annotations

import ast
import json
import logging
import math
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionzoo import errors

log = logging.getLogger(__name__)

SETTINGS_FILE = "hyperparameters.json"
CAUSE_LENGTH = 1_000  # of the 1,024 characters that become the job's FailureReason
FAILURE_BYTES = 20_000
LONGEST_NUMBER = 10**1000  # that Python turns into text
Schema = Mapping[str, Any]

# --- places


@dataclass(frozen=True)
class Paths:
    """Where a job finds and leaves things; nothing needs to be there yet."""

    base: Path
    checkpoints: Path
    cache: Path  # of encoded data; outlives the job where the machine does

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Paths:
        """The places that SAGEMAKER_BASE_DIR (default /opt/ml), SM_CHECKPOINT_DIR and FUSIONZOO_CACHE name.

        The cache is by default where the user's caches are: XDG_CACHE_HOME, or .cache in HOME.
        """
        base = Path(environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml")
        caches = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
        return cls(
            base,
            Path(environ.get("SM_CHECKPOINT_DIR") or base / "checkpoints"),
            Path(environ.get("FUSIONZOO_CACHE") or Path(caches) / "fusionzoo"),
        )

    @property
    def hyperparameters(self) -> Path:
        """The settings as SageMaker writes them."""
        return self.base / "input/config" / SETTINGS_FILE

    @property
    def channel_hyperparameters(self) -> Path:
        """Settings shipped in a channel named `config`."""
        return self.channel("config") / SETTINGS_FILE

    @property
    def code_hyperparameters(self) -> Path:
        """Settings shipped with the code."""
        return self.base / "code" / SETTINGS_FILE

    @property
    def input_data_config(self) -> Path:
        return self.base / "input/config/inputdataconfig.json"

    @property
    def resource_config(self) -> Path:
        return self.base / "input/config/resourceconfig.json"

    @property
    def model(self) -> Path:
        return self.base / "model"

    @property
    def output_data(self) -> Path:
        return self.base / "output/data"

    @property
    def failure(self) -> Path:
        return self.base / "output/failure"

    def channel(self, name: str) -> Path:
        """The folder of a channel."""
        return self.base / "input/data" / name

    def channels_declared(self) -> dict[str, Any] | None:
        """The channels that inputdataconfig.json names, each with its mode and type; None where there is no file.

        Raises:
            errors.ContainerError: the file is there, but is not a JSON object.
        """
        return _read_object(self.input_data_config)

    def hosts(self) -> Hosts | None:
        """The machines that resourceconfig.json names; None where there is no file.

        Raises:
            errors.ContainerError: the file is there, but does not say which machines there are, and which is this one.
        """
        found = _read_object(self.resource_config)
        if found is None:
            return None
        names, current, interface = (found.get(key) for key in ("hosts", "current_host", "network_interface_name"))
        listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not isinstance(names, list) or not listed or not isinstance(current, str) or current not in names:
            cause = ValueError("it needs hosts, a list of names, and current_host, one of them")
            raise errors.ContainerError(self.resource_config, cause)
        return Hosts(tuple(sorted(names)), current, interface if isinstance(interface, str) else None)


@dataclass(frozen=True)
class Hosts:
    """The machines of a job, which one this is, and the network interface between them where it is known."""

    names: tuple[str, ...]
    current: str
    interface: str | None


def _read_object(path: Path) -> dict[str, Any] | None:
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as cause:
        raise errors.ContainerError(path, cause) from cause
    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
    except (ValueError, RecursionError) as cause:
        raise errors.ContainerError(path, cause) from cause
    return found


# --- settings as SageMaker writes them: the SDK's version 2 encodes each value as JSON, version 3 leaves texts bare


def decode(value: Any, schema: Schema) -> Any:
    """A hyperparameter's value, decoded by its field's JSON schema; None where it says null.

    A text field takes a JSON text's content, or the text as it is; any other field takes JSON, then Python literals
    and any case of true and false. What cannot be decoded comes back as it is, for validation to refuse.
    """
    kinds = json_types(schema)
    if "string" in kinds and kinds <= {"string", "array", "null"} and not is_list_or_word(schema):
        return _decoded_text(unquote(value), schema, kinds)
    return _fitted(parse_literal(value), schema)


def json_types(schema: Schema) -> set[str]:
    """The JSON types that a schema allows; empty where it allows all."""
    return {part["type"] for part in schema_alternatives(schema) if "type" in part}


def is_list_or_word(schema: Schema) -> bool:
    """Whether it takes a list, or one of a few texts in its place, and no other text."""
    texts = [part for part in schema_alternatives(schema) if part.get("type") == "string"]
    return "array" in json_types(schema) and bool(texts) and all({"const", "enum"} & part.keys() for part in texts)


def schema_alternatives(schema: Schema) -> list[Schema]:
    """A schema's alternatives; itself where it has none."""
    return (
        [deeper for part in schema["anyOf"] for deeper in schema_alternatives(part)] if "anyOf" in schema else [schema]
    )


def unquote(value: Any) -> Any:
    """The content of a text that is a JSON text, however often encoded; any other value as it is."""
    while isinstance(value, str) and value.lstrip().startswith('"'):
        try:
            value = json.loads(value)
        except ValueError:
            break
    return value


def parse_literal(value: Any) -> Any:
    """The value of a text that is JSON or a Python literal; any other text or value as it is."""
    while isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return _python_literal(value)
    return value


_NOT_FINITE = re.compile(r"(?i)(?<![\w'\"])(nan|inf(inity)?)(?![\w'\"])")


def _python_literal(text: str) -> Any:
    word = text.strip()
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    for candidate in (word, _NOT_FINITE.sub("1e999", word)):
        try:
            found = ast.literal_eval(candidate)
            if isinstance(found, str) or (isinstance(found, tuple) and not word.startswith("(")):
                continue
            return json.loads(json.dumps(found))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return text


def _decoded_text(value: Any, schema: Schema, kinds: set[str]) -> Any:
    if "array" in kinds and isinstance(value, str) and value.lstrip().startswith("["):
        found = parse_literal(value)
        value = found if isinstance(found, list) else value
    value = _fitted(value, schema)
    return None if value in ("null", "None") and value not in _choices(schema) else value


def _fitted(value: Any, schema: Schema) -> Any:
    """The value as its schema spells it, in lists too: choices in their own case, whole floats as integers."""
    kinds = json_types(schema)
    if isinstance(value, list) and "array" in kinds:
        items = next(part.get("items", {}) for part in schema_alternatives(schema) if part.get("type") == "array")
        return [_fitted(item, items) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = _fitted_number(value, kinds)
    return _choice(value, schema) if isinstance(value, str) and "string" in kinds else value


def _fitted_number(value: int | float, kinds: set[str]) -> int | float | str:
    if isinstance(value, float):
        return int(value) if "integer" in kinds and "number" not in kinds and value.is_integer() else value
    if "integer" in kinds:
        return value
    if "number" in kinds:
        return float(value) if abs(value) < sys.float_info.max else math.inf
    return str(value) if "string" in kinds and abs(value) < LONGEST_NUMBER else value


def _choice(text: str, schema: Schema) -> str:
    """The choice that the text names, without regard to case; the text as it is where it names none."""
    choices = _choices(schema)
    alike = [choice for choice in choices if choice.lower() == text.strip().lower()]
    return text if text in choices or not alike else alike[0]


def _choices(schema: Schema) -> list[str]:
    named = [choice for part in schema_alternatives(schema) for choice in [part.get("const"), *part.get("enum", [])]]
    return [choice for choice in named if isinstance(choice, str)]


# --- how a job ends


def run_job(job: Callable[[Paths], None], environ: Mapping[str, str]) -> int:
    """Run a job and return its exit status, 0 or 1; of a failed one, the failure file holds the cause.

    Whatever the job raises is logged and kept there, an interrupt too; a ZooError without its stack trace. Of several
    processes, whose numbers torchrun's variables hold, the first one logs for all; others only log errors.
    """
    paths = Paths.from_environment(environ)
    with _logging_to_stdout(int(environ.get("RANK") or 0)):
        if environ.get("LOCAL_RANK", "0") == "0":
            _remove_stale(paths.failure)
        try:
            job(paths)
        except errors.ZooError as error:
            log.error("%s", error)
            write_failure(paths.failure, str(error))
            return 1
        except BaseException as error:  # an interrupted job has failed too, and has to say so
            log.critical("%s", _cause(error), exc_info=error)
            trace = "".join(traceback.format_exception(error))
            write_failure(paths.failure, _cause(error)[:CAUSE_LENGTH], trace)
            return 1
    return 0


def _cause(error: BaseException) -> str:
    """One line that says what was raised; for want of memory, which torch raises too, also what to do."""
    name = type(error).__name__
    hint = f"\n{errors.OUT_OF_MEMORY}" if errors.lacks_memory(error) else ""
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))  # for example which plugin's hook it was
    end = (notes + hint)[-CAUSE_LENGTH // 2 :]
    return f"{name}: {error}"[: CAUSE_LENGTH - len(end)] + end


def _remove_stale(failure: Path) -> None:
    try:
        failure.unlink(missing_ok=True)
    except OSError as cause:
        log.warning("%s", errors.failure_not_removed(failure, cause))


def write_failure(path: Path, cause: str, trace: str = "") -> None:
    """Write the cause and as much of the trace's end as fits; the first process that writes wins."""
    head = cause.encode("utf-8", "backslashreplace")[:FAILURE_BYTES]
    tail = trace.encode("utf-8", "backslashreplace")[-(FAILURE_BYTES - len(head)) :] if trace else b""
    text = "\n\n".join(part.decode("utf-8", "ignore") for part in (head, tail) if part)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as problem:
        if path.is_file() and isinstance(problem, FileExistsError):
            log.info("%s", errors.failure_already_there(path))
        else:
            log.error("%s", errors.failure_unwritten(path, problem))


@contextmanager
def _logging_to_stdout(rank: int) -> Iterator[None]:
    """Logs of `fusionzoo` as plain lines on stdout, each flushed, and nowhere else; as before afterwards."""
    logger = logging.getLogger("fusionzoo")
    handler = logging.StreamHandler(sys.stdout)
    by = f"[process {rank}] " if rank else ""
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {by}%(message)s"))
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR if rank else logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
