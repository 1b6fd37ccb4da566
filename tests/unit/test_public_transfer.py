"""A file over HTTP from servers of every kind: the right file or a sentence, never a wrong file."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import sys
import time
from dataclasses import replace

import http_files as answers
import numpy as np
import pytest

from segline.data.public import transfer as module
from segline.data.public.transfer import Patience, origin_file, part_origin, transfer
from segline.errors import DataError

CONTENT = np.random.default_rng(0).bytes(200_000)
SHA = answers.sha256(CONTENT)
QUICK = Patience(attempts=3, first_wait=0.001, longest_wait=0.01, connect=5, silence=20, worthwhile=1000)
HASTY = replace(QUICK, silence=0.25)


@pytest.fixture(scope="module")
def running():
    with answers.serving({"file.bin": CONTENT, "file.gz": CONTENT}) as server:
        yield server


@pytest.fixture
def server(running):
    running.script, running.asked = [], []
    return running


@pytest.fixture
def fetch(server, tmp_path):
    """Fetch with a script; gives the content, or the sentence. A file that is there is the right one, whatever happens."""

    def run(*script, known="checksum", name="file.bin", patience=QUICK, addresses=None):
        server.script[:] = script
        target = tmp_path / name
        target.unlink(missing_ok=True)
        keys = {"checksum": {"checksum": SHA}, "both": {"checksum": SHA, "size": len(CONTENT)}, "size": {"size": len(CONTENT)}, "nothing": {}}[known]
        try:
            transfer(addresses or [f"{server.address}/{name}"], target, patience=patience, **keys)
        except DataError as error:
            assert not target.exists()
            return str(error)
        assert target.read_bytes() == CONTENT
        assert not target.with_name(f"{name}.part").exists() and not part_origin(target).exists() and origin_file(target).is_file()
        return "right"

    return run


def ranges(server):
    return [request.get("range") for request in server.asked]


@pytest.mark.parametrize("known", ["checksum", "both", "size", "nothing"])
@pytest.mark.parametrize(
    "script",
    [
        [],
        [answers.dropped(70_000), answers.dropped(50_000)],
        [answers.status(503), answers.status(429, Retry_After="0"), answers.dropped(9_000)],
        [answers.dropped(70_000), answers.from_the_start],
        [answers.dropped(70_000), answers.beside_the_range],
        [answers.dropped(70_000), answers.status(416, Content_Range="bytes */7")],
        [answers.dropped(0), answers.dropped(10)],
    ],
    ids=["well", "drops", "503", "ignores Range", "other bytes", "416", "nothing at first"],
)
def test_what_passes_ends_in_the_right_file(fetch, script, known):
    assert fetch(*script, known=known) == "right"


def test_what_stalls_is_asked_again(fetch, server):
    assert fetch(answers.stalled(60_000), answers.stalled(60_000), patience=replace(HASTY, attempts=8)) == "right"
    assert ranges(server)[:3] == [None, "bytes=60000-", "bytes=120000-"]


def test_it_goes_on_where_it_stopped(fetch, server):
    assert fetch(answers.dropped(70_000), answers.dropped(50_000)) == "right"
    assert ranges(server) == [None, "bytes=70000-", "bytes=120000-"]
    assert [request.get("if-range") for request in server.asked] == [None, answers.ETAG, answers.ETAG]
    assert all(request["accept-encoding"] == "identity" for request in server.asked)


@pytest.mark.parametrize(
    ("script", "known", "sentence"),
    [
        ([answers.truncated(1000)] * 9, "size", "a file of 1000 bytes, and the published one has 200000"),
        ([answers.truncated(1000)] * 9, "checksum", "is not the published file, twice: its sha256 is"),
        ([answers.corrupted(150_000)] * 9, "both", "is not the published file, twice: its sha256 is"),
        ([answers.page] * 9, "nothing", "answers with a page"),
        ([answers.encoded] * 9, "nothing", r"encoded \(br\)"),
        ([answers.of_no_length] * 9, "nothing", "nobody could tell whether it came whole"),
        ([answers.status(404)] * 9, "checksum", "answers 404"),
        ([answers.status(403)] * 9, "checksum", "answers 403"),
        ([answers.status(503)] * 9, "checksum", "answers 503 .* 3 times in a row"),
        ([answers.stalled(10)] * 9, "checksum", "nothing came for 0.25 s, and so 3 times in a row"),
        ([answers.dropped(10)] * 99, "checksum", "ended after 30 bytes of 200000, and so 3 times in a row"),
        ([answers.dripping(0.05)] * 9, "checksum", "hardly anything came for 0.25 s, and so 3 times in a row"),
        ([answers.chunked(whole=False)] * 9, "nothing", "3 times in a row"),
    ],
)
def test_what_stays_wrong_ends_in_a_sentence(fetch, script, known, sentence):
    said = fetch(*script, known=known, patience=HASTY if "came for" in sentence else QUICK)
    assert re.search(sentence, said), said
    assert "data.mirror" in said and "same command again" in said


def test_one_byte_that_is_wrong_once_is_fetched_again(fetch, server):
    assert fetch(answers.corrupted(150_000)) == "right"
    assert ranges(server) == [None, None]
    assert fetch(answers.dropped(70_000), answers.corrupted(150_000)) == "right"


def test_lengths_that_only_the_answer_tells(fetch):
    assert fetch(answers.of_no_length) == "right"
    assert fetch(answers.chunked(whole=True), known="nothing") == "right"
    assert fetch(answers.chunked(whole=False), known="nothing") == "right"  # the second answer is well
    assert fetch(answers.encoded, name="file.gz") == "right"  # which servers call an encoding


def test_another_version_of_the_file_is_not_glued_to_the_first(fetch, server):
    other = CONTENT[::-1]
    assert fetch(answers.dropped(70_000), answers.of_another_version(other), known="nothing") == "right"
    assert ranges(server) == [None, "bytes=70000-", None]


def test_a_part_of_unknown_origin_is_gone_on_with_only_where_a_checksum_tells(fetch, server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:5000])
    assert fetch(known="checksum") == "right" and ranges(server) == ["bytes=5000-"]
    (tmp_path / "file.bin.part").write_bytes(b"x" * 5000)
    assert fetch(known="checksum") == "right"
    server.asked.clear()
    (tmp_path / "file.bin.part").write_bytes(b"x" * 5000)
    assert fetch(known="size") == "right" and ranges(server) == [None]
    (tmp_path / "file.bin.part").write_bytes(b"x" * 5000)
    part_origin(tmp_path / "file.bin").write_text("{")
    assert fetch(known="nothing") == "right"


@pytest.mark.parametrize("known", ["checksum", "size"])
def test_a_part_that_is_whole_or_too_long(fetch, server, tmp_path, known):
    origin = {"address": f"{server.address}/file.bin", "etag": answers.ETAG, "modified": None}
    for content in (CONTENT, CONTENT + b"more"):
        (tmp_path / "file.bin.part").write_bytes(content)
        part_origin(tmp_path / "file.bin").write_text(json.dumps(origin))
        assert fetch(known=known) == "right"


def test_every_address_says_why_it_has_nothing(fetch, server):
    said = fetch(addresses=[f"{server.address}/nothing.bin", "http://127.0.0.1:9/file.bin", "ftp://127.0.0.1/file.bin", "http://"])
    assert "/nothing.bin: the server answers 404" in said
    assert "127.0.0.1:9/file.bin: the connection failed" in said and "refused" in said and "0x" not in said
    assert "ftp://127.0.0.1/file.bin: " in said and "http://: " in said


def test_the_next_address_is_asked_where_one_has_it_not(fetch, server):
    addresses = [f"{server.address}/nothing.bin", "http://127.0.0.1:9/file.bin", f"{server.address}/file.bin"]
    assert fetch(addresses=addresses) == "right"


def test_waits_grow_and_follow_the_server(server, tmp_path):
    waited = []
    server.script[:] = [answers.status(503), answers.status(503), answers.status(503, Retry_After="7"), answers.status(503, Retry_After="99999")]
    transfer([f"{server.address}/file.bin"], tmp_path / "file.bin", checksum=SHA, patience=Patience(longest_wait=30), sleep=waited.append)
    assert waited == [1, 2, 7, 30]


def test_a_disk_that_is_full_is_told_before_anything_comes(fetch, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    assert "needs 0 MB more" in fetch() and "Make room" in fetch()


def test_any_sequence_of_mishaps(fetch):
    """100 scripts of up to six mishaps; with what is known, what comes is right, or there is a sentence."""
    kinds = (
        lambda dice: answers.dropped(dice.randrange(150_000)), lambda _: answers.status(503), lambda dice: answers.truncated(dice.randrange(199_000)),
        lambda dice: answers.corrupted(dice.randrange(len(CONTENT))), lambda _: answers.from_the_start, lambda _: answers.beside_the_range,
        lambda _: answers.of_another_version(CONTENT[::-1]), lambda _: answers.status(416, Content_Range="bytes */3"), lambda _: answers.chunked(whole=False),
        lambda _: answers.of_no_length,
    )  # fmt: skip
    dice = random.Random(5)
    ends = [fetch(*(dice.choice(kinds)(dice) for _ in range(dice.randrange(1, 7))), known=dice.choice(["checksum", "both"])) for _ in range(100)]
    assert 30 < ends.count("right") < 100


def test_a_fetch_that_was_killed_goes_on(server, tmp_path):
    """SIGKILL in the middle of the file: what had come is there, has no name yet, and is gone on with."""
    server.script[:] = [answers.stalled(120_000)]
    program = "import sys, pathlib; from segline.data.public.transfer import transfer; transfer([sys.argv[1]], pathlib.Path(sys.argv[2]), checksum=sys.argv[3])"
    target = tmp_path / "file.bin"
    process = subprocess.Popen([sys.executable, "-c", program, f"{server.address}/file.bin", str(target), SHA])
    part = target.with_name("file.bin.part")
    for _ in itertools.repeat(None, 2000):
        if part.is_file() and part.stat().st_size == 120_000:
            break
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert part.stat().st_size == 120_000 and not target.exists()
    transfer([f"{server.address}/file.bin"], target, checksum=SHA, patience=QUICK)
    assert target.read_bytes() == CONTENT and ranges(server) == [None, "bytes=120000-"]
