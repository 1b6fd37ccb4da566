"""Archives of strangers: what is in them lands below the target, or nothing does and there is a sentence."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from archives import FILES, make

from segline.data.public.unpack import size_unpacked, unpack
from segline.errors import DataError

KINDS = ("zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz")


def opened(archive, target, **limits):
    target.mkdir(exist_ok=True)
    return unpack(archive, target, **{"most_bytes": 10**6, "most_files": 100, **limits})


def below(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refused(tmp_path, archive, sentence, **limits):
    with pytest.raises(DataError, match=sentence):
        opened(archive, tmp_path / "target", **limits)
    outside = [file for file in tmp_path.rglob("*") if file != archive and not file.is_relative_to(tmp_path / "target")]
    assert not outside, outside


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_meant_is_unpacked(tmp_path, kind):
    archive = make(tmp_path / f"x.{kind}")
    seen = opened(archive, tmp_path / "all")
    assert below(tmp_path / "all") == {name: content for name, content in FILES.items() if "MACOSX" not in name}
    assert seen.files == 4 and all(file.stat().st_mtime == 1330837568 for file in (tmp_path / "all").rglob("*.*"))
    opened(archive, tmp_path / "part", only="set/")
    assert set(below(tmp_path / "part")) == {"set/a.txt", "set/deep/b.bin"}
    assert size_unpacked(archive) == (sum(map(len, FILES.values())) if kind == "zip" else None)


def test_a_file_that_is_no_archive_is_taken_as_it_is(tmp_path):
    (tmp_path / "list.txt.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    (tmp_path / "notes.txt").write_bytes(b"notes")
    opened(tmp_path / "list.txt.gz", tmp_path / "target")
    opened(tmp_path / "notes.txt", tmp_path / "target")
    assert below(tmp_path / "target") == {"list.txt": b"one\ntwo\n", "notes.txt": b"notes"}


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../evil.txt", "set/../../evil.txt", "/tmp/segline-evil.txt", "C:/evil.txt", "..\\evil.txt", "set/.."])
def test_nothing_is_written_outside(tmp_path, kind, name):
    refused(tmp_path, make(tmp_path / f"x.{kind}", {"set/a.txt": b"a", name: b"evil"}), "leads outside of the folder")


def _member(kind, target=""):
    info = tarfile.TarInfo("set/odd")
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE], ids=["link", "character device", "block device", "pipe"]
)
@pytest.mark.parametrize("where", ["a.txt", "../..", "/etc"])
def test_no_links_and_no_devices_of_a_tar(tmp_path, kind, where):
    refused(tmp_path, make(tmp_path / "x.tar", extra=[(_member(kind, where), b"")]), "a link or a device")


def test_a_hard_link_is_a_copy_and_stays_inside(tmp_path):
    opened(make(tmp_path / "x.tar", extra=[(_member(tarfile.LNKTYPE, "set/a.txt"), b"")]), tmp_path / "all")
    assert (tmp_path / "all/set/odd").read_bytes() == FILES["set/a.txt"] and (tmp_path / "all/set/odd").stat().st_nlink == 1
    refused(tmp_path / "2", made(tmp_path / "2", tarfile.LNKTYPE, "../../etc/passwd"), "leads outside")
    refused(tmp_path / "3", made(tmp_path / "3", tarfile.LNKTYPE, "set/nothing"), "damaged")


def made(folder, kind, where):
    folder.mkdir()
    return make(folder / "x.tar", extra=[(_member(kind, where), b"")])


def test_no_links_of_a_zip(tmp_path):
    info = zipfile.ZipInfo("set/link")
    info.external_attr = 0o120777 << 16
    refused(tmp_path, make(tmp_path / "x.zip", extra=[(info, b"/etc/passwd")]), "a link or a device")


@pytest.mark.parametrize("kind", KINDS)
def test_bombs(tmp_path, kind):
    archive = make(tmp_path / f"x.{kind}", {f"{i}.bin": bytes(4 * 10**5) for i in range(20)})
    assert archive.stat().st_size < 10**6 or kind == "tar"
    refused(tmp_path, archive, "unpacks to more than 0.0 GB", most_bytes=2 * 10**6)
    refused(tmp_path, archive, "more than 7 files", most_files=7, most_bytes=10**9)
    if kind != "zip":  # a tar has to be read through, also for what is passed by
        refused(tmp_path, archive, "unpacks to more than", only="nothing", most_bytes=2 * 10**6)
    assert sum(file.stat().st_size for file in (tmp_path / "target").rglob("*.bin")) <= 4 * 10**6


def test_a_bomb_of_one_file(tmp_path):
    (tmp_path / "list.txt.gz").write_bytes(gzip.compress(b"a" * 10**7))
    refused(tmp_path, tmp_path / "list.txt.gz", "unpacks to more than")


def test_a_compressed_file_is_no_tar_by_chance(tmp_path):
    """The time in a gzip's header is part of what a bare tar's header would have for its sum."""
    content = gzip.compress(b"a" * 10**7)
    tries = (content[:4] + time.to_bytes(4, "little") + content[8:] for time in range(1, 2**16, 7))
    (tmp_path / "list.txt.gz").write_bytes(next(one for one in tries if tarfile.is_tarfile(io.BytesIO(one))))
    refused(tmp_path, tmp_path / "list.txt.gz", "unpacks to more than")


def test_a_zip_that_is_locked(tmp_path):
    archive = make(tmp_path / "x.zip", {"a.txt": b"secret"})
    content = bytearray(archive.read_bytes())
    content[6] |= 1  # of the member, and of the directory at the end
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    refused(tmp_path, archive, "locked with a password")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_in_the_place_of_a_folder(tmp_path, kind):
    refused(tmp_path, make(tmp_path / f"x.{kind}", {"a": b"file", "a/b": b"in it"}), "a file and a folder of one name")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_archives(tmp_path, kind):
    """60 archives each, cut off or with damaged places: the content, or a sentence. A zip has sums of its members, gz, bz2 and xz of all; a tar of headers."""
    whole = make(tmp_path / f"x.{kind}").read_bytes()
    dice = np.random.default_rng(len(kind))
    sentences = 0
    for i in range(60):
        content = bytearray(whole)
        for place in dice.integers(0, len(whole), 2):
            content[place] ^= int(dice.integers(1, 256))
        (tmp_path / f"d.{kind}").write_bytes(content[: dice.integers(0, len(whole))] if i % 3 == 0 else content)
        target = tmp_path / f"out{i}"
        try:
            opened(tmp_path / f"d.{kind}", target)
        except DataError:
            sentences += 1
        else:
            found = below(target)
            if kind == "zip":  # whose names have no sum
                assert set(found.values()) <= set(FILES.values())
            elif kind == "tar":
                assert set(found) == {name for name in FILES if "MACOSX" not in name}
            else:
                assert found == {name: content for name, content in FILES.items() if "MACOSX" not in name}
    assert sentences > 20
    assert {file.name for file in tmp_path.iterdir()} <= {f"x.{kind}", f"d.{kind}", *(f"out{i}" for i in range(60))}
