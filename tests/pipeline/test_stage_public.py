"""A public data set by name through the stages' real entry points, from a mirror on this machine."""

from __future__ import annotations

import json
import shutil

import http_files as answers
import pytest
from archives import content_of, make
from public_sources import make_camvid
from test_stage_data import MODELS, checkout, stage  # noqa: F401 - a fixture

from segline.data.public import catalog
from segline.data.store import PreparedDataset
from segline.layout import Checkout

ARCHIVE = catalog.get("camvid").archives[0]


@pytest.fixture
def mirror(tmp_path):
    """A server of a tiny CamVid, in an archive like the published one."""
    root = make_camvid(tmp_path / "published")
    files = {f"{ARCHIVE.only}{name}": data for name, data in content_of(root).items()}
    files[ARCHIVE.only.replace("CamVid/", "Models/segnet.txt")] = b"none of the data set"
    with answers.serving({ARCHIVE.name: make(tmp_path / "camvid.zip", files).read_bytes()}) as server:
        yield server


def ask(checkout, **keys):  # noqa: F811
    said = ", ".join(f"{key}: {value}" for key, value in {"source": "camvid", **keys}.items())
    (checkout / "params.yaml").write_text(MODELS + f"data: {{{said}}}\n")
    stage(checkout, "params")


def test_it_is_fetched_prepared_and_identified(checkout, mirror):  # noqa: F811
    mirror.script[:] = [answers.dropped(300), answers.status(503)]
    ask(checkout, mirror=mirror.address)
    for name in ("download", "prepare"):
        stage(checkout, name)
    info = PreparedDataset(checkout / "data" / "prepared").info
    assert info.name == "camvid" and info.counts == {"train": 2, "val": 1}
    places = Checkout(checkout)
    plan = json.loads(places.data_plan.download.read_text())
    assert plan["fetched"] == catalog.get("camvid").version and plan["settings"]["source"] == "camvid" and "mirror" not in plan["settings"]
    manifest = (checkout / "data" / "raw" / "manifest.json").read_bytes()
    assert json.loads(manifest)["source"] == "camvid"
    asked = len(mirror.asked)

    # Again: nothing is asked for, and nothing differs.
    for name in ("download", "prepare"):
        stage(checkout, name)
    assert len(mirror.asked) == asked and (checkout / "data" / "raw" / "manifest.json").read_bytes() == manifest

    # Where the files come from is in no plan.
    before = [file.read_bytes() for file in (places.data_plan.download, places.data_plan.prepare)]
    ask(checkout, mirror="../../published")
    assert [file.read_bytes() for file in (places.data_plan.download, places.data_plan.prepare)] == before
    stage(checkout, "download")
    assert json.loads((checkout / "data" / "raw" / "manifest.json").read_text())["fingerprint"] == json.loads(manifest)["fingerprint"]

    # Who pulls what was prepared has no files; where images are needed again, they are fetched again, and are the same.
    ask(checkout, mirror=mirror.address)
    stage(checkout, "download")
    shutil.rmtree(places.public("camvid").path)
    stage(checkout, "prepare")
    assert len(mirror.asked) == asked + 1 and (checkout / "data" / "raw" / "manifest.json").read_bytes() == manifest


def test_what_cannot_be_had_ends_in_sentences(checkout):  # noqa: F811
    (checkout / "params.yaml").write_text(MODELS + "data: {source: camvid, mirror: ../nowhere}\n")
    assert "data.mirror: the folder" in stage(checkout, "params", 2)
    (checkout / "params.yaml").write_text(MODELS + "data: {source: camvd, format: camvid}\n")
    assert "Did you mean the public data set 'camvid'?" in stage(checkout, "params", 2)
    ask(checkout, source="cityscapes")
    assert "Sign up at the page" in stage(checkout, "download", 2)
    (checkout / "mirror").mkdir()
    (checkout / "mirror" / ARCHIVE.name).write_bytes(b"PK no zip")
    ask(checkout, mirror="../mirror")
    assert "is no archive, though its name says so" in stage(checkout, "download", 2)
