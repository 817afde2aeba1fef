"""Build a target of the Dockerfile in a folder, without a container engine: parse it, and run its steps with chroot."""

from __future__ import annotations

import fnmatch
import os
import shlex
import shutil
import string
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from e2b_dockerfile_utils import DockerfileInstruction, PatternMatcher, ShellLex, parse_dockerfile_ast

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEVICES = ("null", "zero", "random", "urandom")


@dataclass(frozen=True)
class Image:
    """What an engine knows of an image: its files in a folder, and how a container of it starts."""

    root: Path | None
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": PATH, "HOME": "/root"})
    work_folder: str = "/"
    user: str = "root"
    entry_point: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    health_check: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    def start_command(self, *arguments: str) -> list[str]:
        """Return the command of `docker run IMAGE ARGUMENTS`."""
        return [*self.entry_point, *(arguments or self.command)]


@dataclass(frozen=True)
class Stage:
    """A stage of a Dockerfile: its name, what it starts from, and its instructions."""

    name: str
    base: str
    instructions: tuple[DockerfileInstruction, ...]


class Dockerfile:
    """A parsed Dockerfile with its build arguments."""

    def __init__(self, path: Path, **build_arguments: str) -> None:
        tree = parse_dockerfile_ast(path.read_text("utf-8"))
        assert not tree.warnings, tree.warnings
        self.context = path.parent
        self._lexer = ShellLex(tree.escape_token)
        self._build_arguments = build_arguments
        self.arguments: dict[str, str] = {}  # those before the first FROM, which FROM lines may use
        self.stages: dict[str, Stage] = {}
        for instruction in tree.instructions:
            if instruction.name.upper() == "FROM":
                base, _, name = instruction.args
                stage = Stage(name, self._expand(base, self.arguments), ())
            elif not self.stages:
                self.arguments |= self.read_argument(instruction, self.arguments)
                continue
            else:
                last = next(reversed(self.stages.values()))
                stage = replace(last, instructions=(*last.instructions, instruction))
            self.stages[stage.name] = stage

    def read_argument(self, instruction: DockerfileInstruction, scope: Mapping[str, str]) -> dict[str, str]:
        """Return the name and value of an ARG instruction."""
        (text,) = instruction.args
        name, _, default = self._expand(text, scope).partition("=")
        return {name: self._build_arguments.get(name, default)}

    def read_image(self, target: str) -> Image:
        """Return what the instructions of a target say about its containers, without building it."""
        image, scope = Image(None), dict[str, str]()
        for instruction in self.stages[target].instructions:
            image, scope = self._configure(instruction, image, scope)
        return image

    def build(self, target: str, bases: Mapping[str, Path], folder: Path, mounts: Mapping[str, Path]) -> Image:
        """Return the image of a target: copies of the base folders in `folder`, changed by RUN and COPY.

        `mounts` are files of this machine that the steps see at a path of the image, such as certificates.
        """
        stage = self.stages[target]
        root = folder / target
        subprocess.run(["cp", "-a", bases[stage.base], root], check=True)  # shutil would read devices without end
        image, scope = Image(root), dict[str, str]()
        for instruction in stage.instructions:
            if instruction.name.upper() == "RUN":
                (command,) = instruction.args  # the shell expands it
                done = Container(image, mounts, scope, has_network=True).run("/bin/sh", "-c", command)
                assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stdout[-4000:]}"
            elif instruction.name.upper() == "COPY":
                self._copy(instruction, image, folder)
            else:
                image, scope = self._configure(instruction, image, scope)
        return image

    def list_context(self) -> list[str]:
        """Return the files of the build context: those of the folder that .dockerignore does not exclude."""
        lines = (self.context / ".dockerignore").read_text("utf-8").splitlines()
        matcher = PatternMatcher([line for line in lines if line and not line.startswith("#")])
        files = []
        for parent, folders, names in os.walk(self.context):
            place = Path(parent).relative_to(self.context)
            folders[:] = [name for name in folders if not _is_excluded(matcher, place / name)]
            files += [place / name for name in names if not matcher.matches((place / name).as_posix())]
        return sorted(path.as_posix() for path in files)

    def _configure(
        self, instruction: DockerfileInstruction, image: Image, scope: dict[str, str]
    ) -> tuple[Image, dict[str, str]]:
        """Return the image and the build arguments after an instruction that changes no files."""
        name, arguments = instruction.name.upper(), tuple(instruction.args)
        values = {**image.environment, **scope}
        if name == "ARG":
            scope = {**scope, **self.read_argument(instruction, values)}
        elif name in ("ENV", "LABEL"):
            pairs = {}
            for key, value, _ in zip(arguments[::3], arguments[1::3], arguments[2::3], strict=True):
                pairs[self._expand(key, values)] = self._expand(value, values)
            attribute = {"ENV": "environment", "LABEL": "labels"}[name]
            image = replace(image, **{attribute: {**getattr(image, attribute), **pairs}})
        elif name == "WORKDIR":
            image = replace(image, work_folder=str(Path(image.work_folder, self._expand(arguments[0], values))))
            if image.root is not None:
                (image.root / image.work_folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "USER":
            image = replace(image, user=self._expand(arguments[0], values))
        elif name == "HEALTHCHECK":
            image = replace(image, health_check=arguments[1:])
        elif name in ("ENTRYPOINT", "CMD"):
            assert instruction.json, f"{name} is not in the exec form"
            image = replace(image, **{"ENTRYPOINT": {"entry_point": arguments}, "CMD": {"command": arguments}}[name])
        else:
            assert name in ("RUN", "COPY", "EXPOSE"), f"{name} is not implemented here"
        return image, scope

    def _copy(self, instruction: DockerfileInstruction, image: Image, folder: Path) -> None:
        """Copy files of the context, or of the stage that `--from` names, as COPY does: the content of folders."""
        *patterns, target = [self._expand(word, image.environment) for word in instruction.args]
        sources = [name for pattern in patterns for name in self._find_sources(pattern)]
        stages = [flag.removeprefix("--from=") for flag in instruction.flags]
        assert image.root is not None
        destination = image.root / str(Path(image.work_folder, target)).lstrip("/")
        for source in sources:
            if stages:
                origin = folder / stages[0] / source.lstrip("/")
                assert origin.exists(), f"COPY --from={stages[0]}: {source} does not exist"
                files = [path.relative_to(origin) for path in origin.rglob("*") if path.is_file()]
            else:
                origin = self.context / source
                context = [Path(path) for path in self.list_context()]
                files = [path.relative_to(source) for path in context if path.is_relative_to(source)]
                assert files, f"COPY: {source} is not in the build context"
            is_folder = target.endswith("/") or origin.is_dir()
            for file in files:
                to = destination / (file if origin.is_dir() else Path(source).name if is_folder else "")
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(origin / file, to)

    def _find_sources(self, pattern: str) -> list[str]:
        """Return the sources that a word of COPY names: itself, or the files of the context that match its `*`."""
        return (
            fnmatch.filter([name for name in self.list_context() if "/" not in name], pattern)
            if "*" in pattern
            else [pattern]
        )

    def _expand(self, word: str, values: Mapping[str, str]) -> str:
        return string.Template("".join(self._lexer.process_word(word))).substitute(values)


def _is_excluded(matcher: PatternMatcher, folder: Path) -> bool:
    return matcher.matches(folder.as_posix()) and not matcher.may_match_under(folder.as_posix())


@dataclass(frozen=True)
class Container:
    """How a container of an image runs, with the options of `docker run`.

    `mounts` maps paths of the container to folders and files of this machine. Without a network, only the loopback
    address exists. With `is_read_only`, only /tmp can be written.
    """

    image: Image
    mounts: Mapping[str, Path] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    has_network: bool = False
    is_read_only: bool = False

    def command(self, *arguments: str) -> list[str]:
        """Return the command of this machine that runs `arguments` as PID 1 of the container."""
        root = shlex.quote(str(self.image.root))
        lines = ["set -e", f"mount --bind {root} {root}", f"mount -t proc proc {root}/proc"]
        lines += [f"mount -t tmpfs tmpfs {root}/dev", f"mkdir -m 1777 {root}/dev/shm"]
        lines += [f"touch {root}/dev/{name}; mount --bind /dev/{name} {root}/dev/{name}" for name in DEVICES]
        for path, source in self.mounts.items():
            place = shlex.quote(f"{self.image.root}{path}")
            create = "mkdir -p" if source.is_dir() else "install -D /dev/null"
            lines += [f"{create} {place}", f"mount --bind {shlex.quote(str(source))} {place}"]
            lines += [f"mount -o remount,bind,ro {place}"] if self.is_read_only else []
        if self.is_read_only:
            lines += [f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp", f"mount -o remount,bind,ro {root}"]
        lines += [] if self.has_network else ["ip link set lo up"]
        lines.append(f'exec {shlex.join(self.enter())} "$@"')
        namespaces = ["--mount", "--pid", "--fork", "--kill-child", *([] if self.has_network else ["--net"])]
        return ["unshare", *namespaces, "bash", "-c", "\n".join(lines), "bash", *arguments]

    def enter(self) -> list[str]:
        """Return the command that runs its arguments with the files, variables and user of the container."""
        variables = [f"{name}={value}" for name, value in {**self.image.environment, **self.variables}.items()]
        user = self.user or self.image.user
        identity = [] if user == "root" else ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
        limits = [] if user == "root" else ["--bounding-set=-all", "--no-new-privs"]
        work = ["/bin/sh", "-c", 'cd "$0"; exec "$@"', self.image.work_folder]
        return ["chroot", str(self.image.root), "/usr/bin/env", "-i", *variables, *identity, *limits, *work]

    def run(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a command in the container; return its status and its output, with standard error."""
        command = self.command(*arguments)
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
