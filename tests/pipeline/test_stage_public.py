"""A public data set by name through the stages' real entry points, from a mirror on this machine."""

from __future__ import annotations

import json
import shutil

import http_files as answers
import pytest
from archives import content_of, make
from public_sources import make_camvid
from test_stage_data import MODELS, checkout, stage  # noqa: F401 - a fixture

from segline import conveyor
from segline.data.public import catalog
from segline.data.store import PreparedDataset
from segline.errors import DataError, ParametersError
from segline.layout import Checkout
from segline.plan import data
from segline.plan.stage import write_data_plans

ARCHIVE = catalog.get("camvid").archives[0]


@pytest.fixture
def mirror(tmp_path):
    """A server of a tiny CamVid, in an archive like the published one."""
    root = make_camvid(tmp_path / "published")
    files = {f"{ARCHIVE.only}{name}": content for name, content in content_of(root).items()}
    files[ARCHIVE.only.replace("CamVid/", "Models/segnet.txt")] = b"none of the data set"
    with answers.serving({ARCHIVE.name: make(tmp_path / "camvid.zip", files).read_bytes()}) as server:
        yield server


@pytest.fixture
def ask(checkout):  # noqa: F811
    """Writes params.yaml, and the plans as the stage `params` does; gives their content."""
    (checkout / "dvc.yaml").touch()
    places = Checkout(checkout)

    def run(**keys):
        said = ", ".join(f"{key}: {value}" for key, value in {"source": "camvid", **keys}.items())
        (checkout / "params.yaml").write_text(MODELS + f"data: {{{said}}}\n")
        write_data_plans(conveyor.check(places), places)
        return places.data_plan.download.read_bytes(), places.data_plan.prepare.read_bytes()

    return run


def test_it_is_fetched_prepared_and_identified(ask, checkout, mirror):  # noqa: F811
    mirror.script[:] = [answers.dropped(300), answers.status(503)]
    plans = ask(mirror=mirror.address)
    stage(checkout, "download")
    asked = len(mirror.asked)
    plan, manifest = json.loads(plans[0]), (checkout / "data" / "raw" / "manifest.json").read_bytes()
    assert plan["fetched"] == catalog.get("camvid").version and plan["settings"]["source"] == "camvid" and "mirror" not in plan["settings"]
    assert data.read(Checkout(checkout).data_plan.download).fetched == plan["fetched"] and "fetched" not in json.loads(plans[1])
    assert json.loads(manifest)["source"] == "camvid"

    # Who pulls what was downloaded has no files; where images are needed, they are fetched again, and are the same.
    shutil.rmtree(Checkout(checkout).public("camvid").path)
    stage(checkout, "prepare")
    info = PreparedDataset(checkout / "data" / "prepared").info
    assert info.name == "camvid" and info.counts == {"train": 2, "val": 1}
    assert len(mirror.asked) == asked + 1

    # Again, and from another place: nothing is asked for, no plan differs, and the images are the same.
    assert ask(mirror="../../published") == plans
    stage(checkout, "download")
    assert len(mirror.asked) == asked + 1
    assert json.loads((checkout / "data" / "raw" / "manifest.json").read_text())["fingerprint"] == json.loads(manifest)["fingerprint"]


def test_what_cannot_be_had_ends_in_sentences(ask, checkout):  # noqa: F811
    with pytest.raises(ParametersError, match=r"params.yaml: data.mirror: the folder .*nowhere' does not exist"):
        ask(mirror="../nowhere")
    with pytest.raises(ParametersError, match="Did you mean the public data set 'camvid'"):
        ask(source="camvd", format="camvid")
    ask(source="cityscapes")
    assert "Sign up at the page" in stage(checkout, "download", 2)


def test_plans_of_other_sources_say_nothing_of_it(ask, checkout):  # noqa: F811
    (checkout / "data" / "camvid").mkdir()
    for source in ({"source": "shapes"}, {"source": "./camvid", "format": "camvid"}):
        for plan in ask(**source):
            assert b"fetched" not in plan and b"mirror" not in plan
    with pytest.raises(DataError, match="There is no public data set 'camvd'"):
        catalog.get("camvd")
