"""Compare the uses of paths with the paths of a contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from fusionzoo.contracts.contract_fields import ContractFields
from fusionzoo.contracts.job_kinds import SAGEMAKER_ROOT
from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.file_operations import CREATE, DELETE, LIST, READ, TOUCH, WRITE
from fusionzoo.contracts.static.source_files import show_place
from fusionzoo.contracts.static.uses import Use
from fusionzoo.contracts.validation_report import Access, Evidence, Verdict
from fusionzoo.errors.wording import pluralize

CODE_FOLDER, CONFIG_FOLDER, FAILURE_FILE = "/opt/ml/code", "/opt/ml/input/config", "/opt/ml/output/failure"
OWN_PLACES = (CODE_FOLDER, CONFIG_FOLDER, FAILURE_FILE)
FAILURE_NAME = "failure"
HOME_FOLDERS = ("/home/", "/root/", "/Users/", "~/", "C:\\Users\\", "C:/Users/", "/mnt/c/Users/")
HOMES = ("/root", "~")
CACHE_MARK = "/.cache"
MAX_EVIDENCE = 50  # places of one path
MAX_SIBLINGS = 4  # places named in the error about a path that is not used
MAX_GAPS = 3  # reasons named in the error about a path that is not certainly used
UNKNOWN_STARTS = (texts.UNKNOWN_PART, texts.ENVIRONMENT_PART, texts.ARGUMENT_PART)
READ_DIRECTIONS, WRITE_DIRECTIONS = (READ, LIST, TOUCH), (WRITE, CREATE, TOUCH)
CHANGES = (WRITE, CREATE, DELETE)
WORDS = {READ: "reads", WRITE: "writes", LIST: "lists", CREATE: "creates", DELETE: "deletes", TOUCH: "uses"}


class Fit(Enum):
    """Whether a path of a program is a path of a contract, or below it."""

    YES = "yes"
    MAYBE = "maybe"
    NO = "no"


@dataclass
class Judgment:
    """What the uses of paths say about a contract."""

    errors: dict[str, None]
    warnings: dict[str, None]
    evidence: dict[str, list[Evidence]]
    verdicts: dict[str, Verdict]


@dataclass(frozen=True)
class Expected:
    """A path of a contract, what a script may do to use it, and the optional paths that it may use instead."""

    path: str
    directions: tuple[str, ...]
    optional: list[str]


def fit(path: str, expected: str) -> Fit:
    """Return whether a path, which may have unknown parts, is the expected one or is below it."""
    if path == expected or path.startswith(f"{expected}/"):
        return Fit.YES
    known = texts.known_prefix(path)
    is_open = len(known) < len(path) and known.startswith(f"{SAGEMAKER_ROOT}/")
    return Fit.MAYBE if is_open and f"{expected}/".startswith(known) else Fit.NO


def list_alternatives(use: Use) -> list[str]:
    """Return the normalized alternatives of a use; a value that only a user can give counts if there is no other."""
    paths = list(dict.fromkeys(texts.normalize(path) for path in use.paths if path))
    fixed = [path for path in paths if path[0] not in (texts.ENVIRONMENT_PART, texts.ARGUMENT_PART)]
    return fixed or paths


def judge(
    contract: ContractFields, uses: Iterable[Use], unknown: Iterable[Use] = (), gaps: Iterable[str] = ()
) -> Judgment:
    """Return the verdict on each path of the contract, with the evidence, and the uses that the contract forbids.

    Args:
        contract: what the script promises.
        uses: the uses of paths that are known, at least in part.
        unknown: the uses of paths of which nothing is known: they may be uses of any path.
        gaps: what the analysis could not follow.
    """
    inputs = list(contract.expected_input_paths.values())
    outputs = list(contract.expected_output_paths.values())
    optional = [path for name, path in contract.expected_input_paths.items() if name in contract.optional_paths]
    uses = list(uses)
    found = Judgment({}, {}, {path: [] for path in (*inputs, *outputs)}, {})
    found.verdicts = dict.fromkeys(found.evidence, Verdict.MISSING)
    for use in uses:
        alternatives = list_alternatives(use)
        for name, path in contract.expected_input_paths.items():
            others = [] if name in contract.optional_paths else optional
            _judge_path(found, use, alternatives, Expected(path, READ_DIRECTIONS, others))
        for path in outputs:
            _judge_path(found, use, alternatives, Expected(path, WRITE_DIRECTIONS, []))
        _find_violations(found, contract, use, alternatives)
    _judge_absent(found, contract, [*filter(is_unknown, uses), *unknown], list(gaps))
    return found


def is_unknown(use: Use) -> bool:
    """Return whether a use may be one of any path, because even the beginning of its path is not known."""
    return all(path[0] in UNKNOWN_STARTS for path in list_alternatives(use))


def _judge_path(found: Judgment, use: Use, alternatives: list[str], expected: Expected) -> None:
    """Collect the evidence that one use gives for one path of the contract."""
    path, directions = expected.path, expected.directions
    if use.direction not in directions:
        return
    fits = [_fit_use(alternative, path, use.direction) for alternative in alternatives]
    if all(one is Fit.NO for one in fits):
        return
    others = [one for one, its_fit in zip(alternatives, fits, strict=True) if its_fit is not Fit.YES]
    are_optional = all(any(fit(one, other) is Fit.YES for other in expected.optional) for one in others)
    is_proven = are_optional and len(others) < len(fits) and use.is_certain and not use.is_open
    is_proven &= use.direction in (READ, WRITE) and not any(_is_working_file(one, path) for one in alternatives)
    verdict = Verdict.PROVEN if is_proven else Verdict.POSSIBLE
    before = found.verdicts[path]
    if before is verdict or verdict is Verdict.PROVEN or before is Verdict.MISSING:
        if before is not verdict:
            found.evidence[path].clear()  # weaker evidence no longer matters
        found.verdicts[path] = verdict
        access = Access.READ if READ in directions else Access.WRITE
        evidence = Evidence(path, show_place(use.file), use.line, use.expression, access)
        if len(found.evidence[path]) < MAX_EVIDENCE and evidence not in found.evidence[path]:
            found.evidence[path].append(evidence)


def _is_working_file(path: str, folder: str) -> bool:
    """Return whether a path in a folder is hidden: a program writes such files for itself, and often deletes them."""
    return any(part.startswith(".") for part in path.removeprefix(folder).split("/"))


def _fit_use(path: str, expected: str, direction: str) -> Fit:
    is_tree = direction in (READ, TOUCH) and path != SAGEMAKER_ROOT
    if is_tree and expected.startswith(f"{path}/") and path.startswith(f"{SAGEMAKER_ROOT}/"):
        return Fit.MAYBE  # a reader of a folder may read what is below it
    return fit(path, expected)


def _find_violations(found: Judgment, contract: ContractFields, use: Use, alternatives: list[str]) -> None:
    """Report a use that the contract does not allow: as an error if every alternative of its path is forbidden."""
    problems = [_find_problem(contract, use, path) for path in alternatives]
    if not any(problems):
        return
    is_certain = all(problems) and use.is_certain and not use.is_open
    target = found.errors if is_certain else found.warnings
    for problem in problems:
        if problem:
            target[f"{show_place(use.file, use.line)}: the script {'' if is_certain else 'possibly '}{problem}"] = None


def _find_problem(contract: ContractFields, use: Use, path: str) -> str:
    """Return what is wrong with a use of a path, as a clause; empty if nothing is."""
    shown, verb = texts.show(path), WORDS[use.direction]
    if _is_home(path):
        return f"{verb} {shown}, a hard-coded home folder, which a container lacks. Fix: use a path of the contract."
    outputs = contract.expected_output_paths.values()
    declared = [*contract.expected_input_paths.values(), *outputs]
    is_decided = texts.is_known(path) or not any(fit(path, one) is Fit.MAYBE for one in (*declared, *OWN_PLACES))
    if not path.startswith(f"{SAGEMAKER_ROOT}/") or not is_decided:
        return _find_home_problem(path, verb)
    is_training = contract.container_type == "SageMaker Training Job"
    is_failure = is_training and PurePosixPath(path).name == FAILURE_NAME and path != FAILURE_FILE
    if is_failure and use.direction in (WRITE, TOUCH):
        return f"{verb} {shown}, but SageMaker reads the failure file at {FAILURE_FILE}. Fix: write it there."
    is_output = any(fit(path, output) is Fit.YES for output in outputs)
    if use.direction in CHANGES and not is_output and (folder := _find_read_only(contract, path)):
        return f"{verb} {shown}, inside of the input {folder}. Fix: write into a folder of the outputs."
    if any(fit(path, one) is Fit.YES or one.startswith(f"{path}/") for one in declared):
        return ""
    if _is_allowed(use, path, declared, is_training):
        return ""
    return f"{verb} {shown}, which the contract does not declare. Fix: use a path of the contract, or declare it."


def _find_home_problem(path: str, verb: str) -> str:
    if not path.startswith(texts.HOME_PART) or CACHE_MARK in path:
        return ""
    shown = texts.show(path)
    return f"{verb} {shown}, below the home folder of the user. Fix: use a path of the contract."


def _is_home(path: str) -> bool:
    return (path.startswith(HOME_FOLDERS) and CACHE_MARK not in path) or path in HOMES


def _find_read_only(contract: ContractFields, path: str) -> str | None:
    """Return the input that a path is in."""
    kind = contract.job_kind
    folders = [folder for folder in kind.inputs if folder not in kind.outputs]
    return next((one for one in [*contract.expected_input_paths.values(), *folders] if fit(path, one) is Fit.YES), None)


def _is_allowed(use: Use, path: str, declared: list[str], is_training: bool) -> bool:
    """Return whether a path needs no declaration: SageMaker's own files, and hidden files next to declared outputs."""
    reads = use.direction in (READ, LIST, TOUCH)
    if reads and (fit(path, CONFIG_FOLDER) is Fit.YES or fit(path, CODE_FOLDER) is Fit.YES):
        return True
    if is_training and path == FAILURE_FILE:
        return True
    name = PurePosixPath(path).name
    return name.startswith(".") and any(one.startswith(f"{texts.parent(path)}/") for one in declared)


def _judge_absent(found: Judgment, contract: ContractFields, unknown: list[Use], gaps: list[str]) -> None:
    """Report the paths that are required and not certainly used."""
    named = [("reads", *item) for item in contract.expected_input_paths.items()]
    named += [("writes", *item) for item in contract.expected_output_paths.items()]
    for verb, name, path in named:
        verdict = found.verdicts[path]
        if name in contract.optional_paths:
            continue
        if verdict is Verdict.MISSING:
            places = _show_siblings(found, path)
            fix = f"make {name} one of the optional_paths of the contract"
            directions = READ_DIRECTIONS if verb == "reads" else WRITE_DIRECTIONS
            if reasons := _show_gaps([use for use in unknown if use.direction in directions], gaps):
                start = f"It cannot be proven that the script {verb} {path} ({name}): {reasons}"
                start += f"; {places}" if places else ""
                fix = f"build the path from constants, defaults and SageMaker's variables, or {fix}"
                found.errors[f"{start}. Fix: {fix}."] = None
            else:
                fix = f"{verb[:-1]} it, or {fix}"
                start = f"The script never {verb} {path} ({name})"
                start += f", but {places}" if places else ""
                found.errors[f"{start}. Fix: {fix}."] = None
        elif verdict is Verdict.POSSIBLE:
            first = found.evidence[path][0]
            place = show_place(Path(first.file), first.line)
            found.warnings[f"{place}: the script possibly {verb} {path} ({name}): {first.expression}"] = None


def _show_gaps(unknown: list[Use], gaps: list[str]) -> str:
    """Return why a path may be used although no use was found; empty if it is not used."""
    places = dict.fromkeys(
        f"{show_place(use.file, use.line)} {WORDS[use.direction]} a path that is not known before the run"
        for use in unknown
    )
    shown = [*places, *gaps]
    more = f", and {pluralize(len(shown) - MAX_GAPS, 'other place')}" if len(shown) > MAX_GAPS else ""
    return f"{'; '.join(shown[:MAX_GAPS])}{more}"


def _show_siblings(found: Judgment, path: str) -> str:
    """Return the places that use paths next to this one: one of them may be used in its place."""
    folder = texts.parent(path)
    siblings = [uses for other, uses in found.evidence.items() if uses and texts.parent(other) == folder]
    places = [f"{show_place(Path(use.file), use.line)} uses {use.path}" for uses in siblings for use in uses[:2]]
    return ", ".join(places[:MAX_SIBLINGS])


def find_unwritten_artifacts(contract: ContractFields, uses: Iterable[Use]) -> dict[str, list[str]]:
    """Return the artifacts of each output, by its logical name, that no known write below its path has the name of."""
    written = [path for use in uses if use.direction in WRITE_DIRECTIONS for path in list_alternatives(use)]
    missing: dict[str, list[str]] = {}
    for name, artifacts in contract.artifacts.items():
        folder = contract.expected_output_paths[name]
        parts = {part for path in written if fit(path, folder) is Fit.YES for part in _name_parts(path, folder)}
        absent = [artifact for artifact in artifacts if not _has_name(parts, artifact)]
        if absent:
            missing[name] = absent
    return missing


def _has_name(parts: Iterable[str], artifact: str) -> bool:
    return any(fnmatchcase(part, artifact.rstrip("/")) for part in parts)


def find_misplaced_artifacts(
    contract: ContractFields, uses: Iterable[Use], unwritten: Mapping[str, list[str]]
) -> Iterator[str]:
    """Yield an error for each artifact that is not written into its own output, but into another one."""
    outputs = contract.expected_output_paths
    certain = [use for use in uses if use.direction == WRITE and use.is_certain]
    for name, artifacts in unwritten.items():
        others = [folder for other, folder in outputs.items() if other != name]
        known = {artifact for other, listed in contract.artifacts.items() if other != name for artifact in listed}
        for artifact in (one for one in artifacts if "*" not in one and one not in known):
            found = (_find_misplaced(use, artifact, others) for use in certain)
            if message := next((one for one in found if one), ""):
                yield f"{message}, but the contract lists {artifact} in {outputs[name]}. Fix: write it there."


def _find_misplaced(use: Use, artifact: str, folders: list[str]) -> str:
    """Return that a use writes an artifact into one of the folders, as a clause; empty if it does not."""
    paths = [path for path in list_alternatives(use) if PurePosixPath(path).name == artifact.rstrip("/")]
    if not paths or not any(fit(paths[0], folder) is Fit.YES for folder in folders):
        return ""
    return f"{show_place(use.file, use.line)}: the script writes {texts.show(paths[0])}"


def find_lost_writes(uses: Iterable[Use]) -> Iterator[str]:
    """Yield a warning for each place that certainly writes into the working directory or next to the script."""
    for use in uses:
        paths = list_alternatives(use)
        if use.direction == WRITE and use.is_certain and not use.is_open and all(map(_is_lost, paths)):
            shown = texts.show(paths[0]).replace("<code>/", "", 1)
            yield (
                f"{show_place(use.file, use.line)}: the script writes {shown} in the folder of the code or the working "
                "directory, which SageMaker does not keep. Fix: write into a folder of the outputs."
            )


def _is_lost(path: str) -> bool:
    """Return whether a path is relative, or in the folder of the code; a URL and a hidden file are not meant."""
    is_relative = path[:1] not in ("/", "~", *texts.PARTS) and path.isprintable() and ":/" not in path
    is_here = path.startswith(f"{texts.CODE_PART}/") or (is_relative and "." in PurePosixPath(path).name)
    return is_here and not PurePosixPath(path).name.startswith(".")


def find_undecided(uses: Iterable[Use]) -> Iterator[str]:
    """Yield a note for each place where the path is one that only a user can give."""
    sources: dict[tuple[Path, int, str], set[str]] = {}
    for use in uses:
        starts = {path[0] for path in list_alternatives(use)}
        sources.setdefault((use.file, use.line, use.expression), set()).update(starts)
    for (file, line, expression), starts in sources.items():
        if starts <= {texts.ARGUMENT_PART, texts.ENVIRONMENT_PART}:
            source = "a command-line argument" if texts.ARGUMENT_PART in starts else "an environment variable"
            yield f"{show_place(file, line)}: the path depends on {source} without a default: {expression}"


def _name_parts(path: str, folder: str) -> list[str]:
    """Return the names in a path below a folder that are known at least in part."""
    parts = path.removeprefix(folder).strip("/").split("/")
    return [texts.ANY_PART.sub("x", part) for part in parts if texts.ANY_PART.sub("", part)]
