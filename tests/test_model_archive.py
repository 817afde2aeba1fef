"""A model.tar.gz is judged as a whole before a file is written, and what is refused leaves nothing behind."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fusionzoo import errors
from fusionzoo.artifacts import model_archive
from fusionzoo.artifacts.model_archive import unpack_model, unpacked_model

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"content", kind: bytes = tarfile.REGTYPE, **headers: str) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.pax_headers = kind, "/etc/passwd", headers
    return info, content if kind == tarfile.REGTYPE else b""


MANIFEST = member("manifest.json", b"{}")


def pack(archive: Path, *members: Member) -> Path:
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return archive


def rewrite(archive: Path, change: Callable[[bytes], bytes]) -> Path:
    """Change the content of an archive below its compression."""
    archive.write_bytes(gzip.compress(change(gzip.decompress(archive.read_bytes()))))
    return archive


def declare_size(archive: Path, name: str, field: bytes) -> Path:
    """Write a size into the header of an entry, with a correct checksum."""

    def change(content: bytes) -> bytes:
        start = content.index(name.encode())
        header = bytearray(content[start : start + 512])
        header[124:136] = field
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        return content[:start] + bytes(header) + content[start + 512 :]

    return rewrite(archive, change)


def is_refused(archive: Path, pattern: str, max_expansion: float = 200) -> bool:
    """Return whether the error has this pattern and the name of the archive; unpacking must leave no file behind."""
    folder = archive.parent / "folder"
    folder.mkdir()
    with pytest.raises(errors.ModelArchiveError) as caught:
        unpack_model(archive, folder, max_expansion)
    assert list(folder.iterdir()) == []
    assert {path.name for path in archive.parent.iterdir()} <= {"folder", archive.name}
    return str(archive) in str(caught.value) and re.search(pattern, str(caught.value)) is not None


@pytest.mark.parametrize("prefix", ["", "./", "model/", "./a/b/"])
def test_the_model_is_at_the_top_or_in_a_folder_and_other_files_stay_in_the_archive(
    prefix: str, tmp_path: Path
) -> None:
    names = [f"{prefix}manifest.json", f"{prefix}model.pth", f"{prefix}code/inference.py", "code/lib/x.py"]
    archive = pack(tmp_path / "model.tar.gz", member("code", kind=tarfile.DIRTYPE), *(member(name) for name in names))
    (tmp_path / "folder").mkdir()
    unpack_model(archive, tmp_path / "folder", 200)
    assert {path.name for path in (tmp_path / "folder").rglob("*")} == {"manifest.json", "model.pth"}
    assert (tmp_path / "folder/model.pth").read_bytes() == b"content"


def test_a_tar_file_without_compression_and_long_names_are_unpacked(tmp_path: Path) -> None:
    name = "é" * 100 + ".json"
    archive = pack(tmp_path / "model.tar.gz", MANIFEST, member(name))
    archive.write_bytes(gzip.decompress(archive.read_bytes()))
    (tmp_path / "folder").mkdir()
    unpack_model(archive, tmp_path / "folder", 200)
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {"manifest.json", name}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (member("../model.pth"), r"'\.\./model\.pth': its path leaves the folder"),
        (member("/tmp/model.pth"), r"'/tmp/model\.pth': its path leaves the folder"),
        (member("code/../../x"), "its path leaves the folder"),
        (member("model.pth", kind=tarfile.SYMTYPE), r"'model\.pth': it is a link to '/etc/passwd'"),
        (member("code/model.pth", kind=tarfile.LNKTYPE), "it is a link"),
        (member("model.pth", kind=tarfile.CHRTYPE), "it is a device or a pipe"),
        (member("model.pth", kind=tarfile.FIFOTYPE), "it is a device or a pipe"),
        (member("model.pth", **{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}, content=b"0\n"), "sparse|header"),
        (member("model.pth", **{"GNU.sparse.map": "0,1", "GNU.sparse.size": "9999999999"}), "it is a sparse file"),
        (member("model.pth", size="-512"), "it declares -512 bytes|header"),
        (member("x" * 300), "its name cannot be the name of a file"),
        (member("./manifest.json"), "it appears twice"),
        (member("Manifest.json"), "it differs from manifest.json only in the case"),
    ],
)
def test_an_unsafe_entry_is_refused_by_its_name(entry: Member, reason: str, tmp_path: Path) -> None:
    assert is_refused(pack(tmp_path / "model.tar.gz", MANIFEST, entry), reason)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip_checksum(content: bytes) -> bytes:
    return content[:-8] + bytes(8)


@pytest.mark.parametrize(
    "damage",
    [cut, flip_checksum, lambda content: content + b"garbage", lambda content: b"no archive", lambda content: b""],
)
def test_a_damaged_archive_is_an_error(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    archive = pack(tmp_path / "model.tar.gz", MANIFEST, member("model.pth", np.random.bytes(5000)))
    archive.write_bytes(damage(archive.read_bytes()))
    assert is_refused(archive, "cannot be unpacked")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.rstrip(b"\0") + bytes(8),
        lambda content: content + b"garbage" * 100,
        lambda content: content[:1024] + b"x" * 512 + content[1536:],
    ],
)
def test_an_archive_that_goes_on_after_its_end_or_has_none_is_an_error(
    change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    archive = pack(tmp_path / "model.tar.gz", MANIFEST, member("model.pth", b"x" * 700))
    assert is_refused(rewrite(archive, change), "cannot be unpacked")


def test_every_prefix_of_an_archive_is_an_error(tmp_path: Path) -> None:
    archive = pack(tmp_path / "model.tar.gz", MANIFEST, member("model.pth", np.random.bytes(300)))
    content, folder = archive.read_bytes(), tmp_path / "folder"
    folder.mkdir()
    for length in range(0, len(content), 7):
        archive.write_bytes(content[:length])
        with pytest.raises(errors.ModelArchiveError):
            unpack_model(archive, folder, 200)
    assert list(folder.iterdir()) == []


@pytest.fixture
def few_bytes_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_archive, "MIN_CHECKED_BYTES", 1000)


@pytest.mark.usefixtures("few_bytes_are_checked")
def test_an_archive_that_expands_too_much_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "model.tar.gz", MANIFEST, member("code/zeros", bytes(10**6)))
    assert is_refused(archive, r"(?s)'code/zeros'.*Fix: set max_expansion", max_expansion=2)


@pytest.mark.usefixtures("few_bytes_are_checked")
def test_zeros_after_the_end_count_as_content(tmp_path: Path) -> None:
    archive = pack(tmp_path / "model.tar.gz", MANIFEST)
    assert is_refused(
        rewrite(archive, lambda content: content + bytes(10**6)), "the end of the archive", max_expansion=2
    )


@pytest.mark.parametrize("field", [b"\x80" + bytes(6) + b"\xff" * 5, b"77777777777\0", b"\xff" * 11 + b"\x00"])
def test_a_declared_size_that_the_archive_does_not_have_is_refused_at_once(field: bytes, tmp_path: Path) -> None:
    archive = pack(tmp_path / "model.tar.gz", MANIFEST, member("model.pth"))
    assert is_refused(declare_size(archive, "model.pth", field), "model.pth|header")


def test_a_huge_header_is_not_read_into_memory(tmp_path: Path) -> None:
    entry = member("model.pth", comment="x" * (model_archive.MAX_READ + 1))
    assert is_refused(pack(tmp_path / "model.tar.gz", MANIFEST, entry), "header of an entry is too large")


def test_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_archive, "MAX_MEMBERS", 2)
    assert is_refused(pack(tmp_path / "model.tar.gz", MANIFEST, member("a"), member("b")), "more than 2 entries")


def test_a_disk_that_is_too_small_is_an_error_before_a_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_archive, "free_space", lambda folder: 100)
    archive = pack(tmp_path / "model.tar.gz", MANIFEST, member("model.pth", bytes(200)))
    assert is_refused(archive, "has 202 bytes, but the disk of .* has only 100 free")


def test_an_archive_without_a_model_or_with_several_is_an_error(tmp_path: Path) -> None:
    for number, (names, match) in enumerate(
        [(["model.pth"], "has no manifest.json"), (["a/manifest.json", "b/manifest.json"], "'a', 'b'")]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert is_refused(pack(folder / "model.tar.gz", *(member(name) for name in names)), match)


def test_a_missing_archive_is_an_error_that_names_other_archives_in_its_folder(tmp_path: Path) -> None:
    pack(tmp_path / "model-2.tar.gz", MANIFEST)
    with pytest.raises(errors.ModelArchiveError, match=r"does not exist. Its folder holds 'model-2\.tar\.gz'"):
        unpack_model(tmp_path / "model.tar.gz", tmp_path, 200)
    (tmp_path / "model.tar.gz").mkdir()
    with pytest.raises(errors.ModelArchiveError, match="is a folder"):
        unpack_model(tmp_path / "model.tar.gz", tmp_path, 200)


def test_an_error_of_the_model_names_the_archive_and_the_folder_is_removed(tmp_path: Path) -> None:
    archive = pack(tmp_path / "model.tar.gz", MANIFEST)
    with (
        pytest.raises(errors.ModelFolderError, match=f"{archive}/model.onnx does not exist") as caught,
        unpacked_model(archive, tmp_path, 200) as folder,
    ):
        raise errors.ModelFolderError.missing_file(folder / "model.onnx")
    assert caught.value.code == "FZ-O231"
    assert [path.name for path in tmp_path.iterdir()] == ["model.tar.gz"]
