"""A public data set by its name: fetched, verified, unpacked once; from a server, a mirror, a folder, or by hand."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from pathlib import Path

import http_files as answers
import pytest
from archives import content_of, make
from public_sources import make_carvana, make_oxford_pet
from typer.testing import CliRunner

from segline import params
from segline.cli.app import app
from segline.data.formats import catalog as formats
from segline.data.public import catalog, fetch, telling
from segline.data.public.base import Archive, PublicSet
from segline.data.public.fetch import fetched, folder_in
from segline.data.public.transfer import Patience
from segline.data.sources import SHAPES
from segline.errors import DataError, ParametersError
from segline.layout import Checkout, PublicFolder

QUICK = Patience(attempts=2, first_wait=0.001, longest_wait=0.01, connect=5, silence=0.3, worthwhile=1)
SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The archives of a tiny Oxford-IIIT Pet, by name."""
    folder = tmp_path_factory.mktemp("published")
    make_oxford_pet(folder / "pets")
    found = {}
    for part in ("images", "annotations"):
        files = {f"{part}/{name}": data for name, data in content_of(folder / "pets" / part).items()}
        found[f"{part}.tar.gz"] = make(folder / f"{part}.tar.gz", files).read_bytes()
    return found


@pytest.fixture
def server(content):
    with answers.serving(dict(content)) as running:
        yield running


@pytest.fixture
def place(tmp_path):
    return PublicFolder(tmp_path / "data" / "pets" / "fetched")


@pytest.fixture
def entry(server, content, monkeypatch):
    """The entry of the catalogue that the server publishes."""
    archives = tuple(Archive(name, (f"{server.address}/{name}",), len(data), answers.sha256(data)) for name, data in sorted(content.items()))
    found = dataclasses.replace(catalog.get("oxford_pet"), archives=archives)
    monkeypatch.setitem(catalog.PUBLIC, "oxford_pet", found)
    return found


def get(place, **keys):
    return fetched("oxford_pet", place, patience=QUICK, **keys)


def readable(root, word="oxford_pet"):
    found = formats.get(word)
    return len(found.FORMAT.read(root, found.Settings(source=str(root))).records)


# every entry --------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", catalog.PUBLIC)
def test_an_entry_is_complete(name):
    entry = catalog.get(name)
    assert name not in (SHAPES, "own", "weights", "raw", "prepared", "check", "plan", "params")
    assert entry.about.endswith(".") and entry.citation.endswith(".") and entry.licence and entry.page.startswith("http") and entry.holds
    assert entry.format in formats.FORMATS
    for archive in entry.archives:
        assert archive.addresses or entry.login, "either an address, or what to do"
        algorithm, _, digest = (archive.checksum or "sha256:" + "0" * 64).partition(":")
        assert len(digest) == {"sha256": 64, "md5": 32}[algorithm] and set(digest) <= set("0123456789abcdef")
        assert all(address.startswith("http") and address.endswith(archive.name) for address in archive.addresses)
    assert len({archive.name for archive in entry.archives}) == len(entry.archives)
    assert json.loads(json.dumps(telling.as_json(name, entry)))["version"] == entry.version
    assert f"source: {name}" in telling.readme(name, entry)


@pytest.mark.parametrize("name", catalog.PUBLIC)
def test_params_know_its_format_and_keys(tmp_path, name):
    (tmp_path / "params.yaml").write_text(f"data: {{source: {name}}}\nmodels: {{unet: {{arch: unet}}}}\n")
    found = params.read(tmp_path / "params.yaml")
    assert found.data.format == catalog.get(name).format and found.data_name() == name
    for key, value in catalog.get(name).keys.items():
        assert found.data.model_dump()[key].items() >= value.items() if isinstance(value, dict) else found.data.model_dump()[key] == value


def test_keys_of_params_come_before_those_of_the_catalogue(tmp_path):
    (tmp_path / "params.yaml").write_text("data: {source: carvana, name: cars, splits: {val: 0.2}}\nmodels: {unet: {arch: unet}}\n")
    data = params.read(tmp_path / "params.yaml").data
    assert data.splits.val == 0.2 and data.splits.group == catalog.get("carvana").keys["splits"]["group"] and data.name == "cars"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("{source: camvid, format: coco}", "the public data set camvid is read as camvid; remove the key. A folder of this name is written `./camvid`"),
        ("{source: camvid, mirrors: x}", "data.mirrors is no known key; did you mean 'mirror'"),
        ("{source: ../own, format: masks, mirror: x}", "'../own' is none; remove it"),
    ],
)
def test_mistakes_in_params(tmp_path, data, sentence):
    (tmp_path / "params.yaml").write_text(f"data: {data}\nmodels: {{unet: {{arch: unet}}}}\n")
    with pytest.raises(ParametersError) as caught:
        params.read(tmp_path / "params.yaml")
    assert sentence in str(caught.value)


# fetching -----------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("entry")
def test_it_is_fetched_once(server, place, content):
    root = get(place)
    assert root == place.files and readable(root) == 3
    assert not list(place.archives.iterdir())  # what was fetched is not kept twice
    receipt = fetch.receipt_of(place)
    assert receipt.archives == {name: answers.sha256(data).removeprefix("sha256:") for name, data in content.items()}
    assert len(server.asked) == 2
    assert get(place) == root and len(server.asked) == 2


@pytest.mark.usefixtures("entry")
def test_a_server_with_mishaps(server, place):
    server.script[:] = [answers.status(503), answers.dropped(100), answers.served, answers.corrupted(50)]
    assert readable(get(place)) == 3


@pytest.mark.usefixtures("entry")
def test_a_server_that_stays_wrong(server, place):
    server.script[:] = [answers.corrupted(50)] * 2
    with pytest.raises(DataError, match=r"annotations.tar.gz could not be fetched.*twice: its sha256"):
        get(place)
    assert not place.files.exists()
    assert readable(get(place)) == 3


@pytest.mark.usefixtures("entry")
def test_another_version_of_the_entry_is_fetched_anew(server, place, entry, monkeypatch):
    get(place)
    (place.files / "old").write_text("of the first version")
    monkeypatch.setitem(catalog.PUBLIC, "oxford_pet", dataclasses.replace(entry, archives=entry.archives[::-1]))
    assert readable(get(place)) == 3 and not (place.files / "old").exists() and len(server.asked) == 4


@pytest.mark.usefixtures("entry")
def test_a_mirror_by_address_is_asked_in_place_of_the_catalogues(server, place):
    server.files["elsewhere"] = b""
    get(place, mirror=f"{server.address}/of/ours/")
    assert {request["path"] for request in server.asked} == {"/of/ours/annotations.tar.gz", "/of/ours/images.tar.gz"}


@pytest.mark.usefixtures("entry")
def test_a_folder_with_the_archives(server, place, content, tmp_path):
    (tmp_path / "mirror").mkdir()
    for name, data in content.items():
        (tmp_path / "mirror" / name).write_bytes(data)
    assert readable(get(place, mirror=str(tmp_path / "mirror"))) == 3
    assert not server.asked and len(list((tmp_path / "mirror").iterdir())) == 2  # it is somebody's own
    shutil.rmtree(place.path)
    (tmp_path / "mirror" / "images.tar.gz").write_bytes(content["images.tar.gz"][:-1])
    with pytest.raises(DataError, match=r"mirror/images.tar.gz is not the file that was published: it has \d+ bytes"):
        get(place, mirror=str(tmp_path / "mirror"))
    (tmp_path / "mirror" / "images.tar.gz").unlink()
    assert readable(get(place, mirror=str(tmp_path / "mirror"))) == 3 and len(server.asked) == 1  # what the folder lacks is fetched


@pytest.mark.usefixtures("entry")
def test_who_has_the_files_already(server, place, tmp_path):
    make_oxford_pet(tmp_path / "mine" / "pets")
    assert get(place, mirror=str(tmp_path / "mine")) == tmp_path / "mine" / "pets"
    place.path.mkdir(parents=True)
    place.files.symlink_to(tmp_path / "mine")
    assert readable(get(place)) == 3
    assert not server.asked
    with pytest.raises(DataError, match=r"data.mirror: the folder .*nothing does not exist"):
        get(place, mirror=str(tmp_path / "nothing"))


@pytest.mark.usefixtures("entry")
def test_files_by_hand_that_are_something_else(place):
    (place.files / "some").mkdir(parents=True)
    with pytest.raises(DataError, match=r"lacks the folder in which oxford_pet begins: one with images and annotations\. Remove"):
        get(place)


def test_archives_that_hold_something_else(place, entry, server, monkeypatch, tmp_path):
    data = make(tmp_path / "images.tar.gz", {"readme.txt": b"moved"}).read_bytes()
    server.files["images.tar.gz"] = data
    other = Archive("images.tar.gz", entry.archives[1].addresses)
    monkeypatch.setitem(catalog.PUBLIC, "oxford_pet", dataclasses.replace(entry, archives=(other,)))
    with pytest.raises(DataError, match=r"hold no folder with images and annotations.*what the catalogue says"):
        get(place)
    assert not place.files.exists() and not place.receipt.exists()


@pytest.mark.usefixtures("entry")
def test_several_processes_fetch_it_once(server, place):
    ends = []
    threads = [threading.Thread(target=lambda: ends.append(readable(get(place)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [3] * 4 and len(server.asked) == 2


@pytest.mark.usefixtures("entry")
def test_a_receipt_that_is_damaged(server, place):
    get(place)
    place.receipt.write_text("{")
    assert readable(get(place)) == 3 and len(server.asked) == 4


@pytest.mark.usefixtures("entry")
def test_a_disk_without_room(place, monkeypatch):
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100 * 10**6 + 10})())
    with pytest.raises(DataError, match=r"To fetch and unpack oxford_pet, 0.0 GB are needed.*Make room there"):
        get(place)


# after a login ------------------------------------------------------------------------------------------------------------------------------------------


def test_archives_that_somebody_has_to_bring(place, tmp_path, monkeypatch):
    with pytest.raises(DataError) as caught:
        fetched("carvana", place)
    said = str(caught.value)
    assert "kaggle.com" in said and f"Put train.zip, train_masks.zip into {place.archives}" in said and "data.mirror" in said
    root = make_carvana(tmp_path / "cars")
    place.archives.mkdir(parents=True)
    published = []
    for part in ("train", "train_masks"):
        files = {f"{part}/{name}": data for name, data in content_of(root / part).items()}
        data = make(place.archives / f"{part}.zip", files).read_bytes()
        published.append(Archive(f"{part}.zip", size=len(data), checksum=answers.sha256(data)))
    with pytest.raises(DataError, match=r"train.zip is not the file that was published.*Fetch it once more, and put it there"):
        fetched("carvana", place)
    monkeypatch.setitem(catalog.PUBLIC, "carvana", dataclasses.replace(catalog.get("carvana"), archives=tuple(published)))
    assert readable(fetched("carvana", place), "carvana") == 4
    assert {file.name for file in place.archives.iterdir()} == {"train.zip", "train_masks.zip"}  # they are somebody's own


def test_a_data_set_that_cannot_be_unpacked_by_the_line(place):
    with pytest.raises(DataError, match=r"password.*or a link to the folder around them, in the place of .*files, or set data.mirror to that folder"):
        fetched("deepfashion2", place)


# real copies --------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "folder"), [("camvid", "camvid"), ("pennfudan", "PennFudanPed")])
def test_a_copy_that_somebody_has(place, name, folder):
    if not (SHARED / folder).is_dir():
        pytest.skip(f"needs {folder} in shared/data beside the checkout")
    root = fetched(name, place, mirror=str(SHARED / folder))
    assert readable(root, catalog.get(name).format) > 100


def test_the_folder_that_a_format_reads_is_found(tmp_path):
    entry = PublicSet("", "", "", "", "", "", (), ("x", "y"))
    assert folder_in(tmp_path / "nothing", entry) is None
    (tmp_path / "a/b/c/x").mkdir(parents=True)
    assert folder_in(tmp_path, entry) is None
    (tmp_path / "a/b/c/y").touch()
    assert folder_in(tmp_path, entry) == tmp_path / "a/b/c"


# segline datasets ---------------------------------------------------------------------------------------------------------------------------------------


def say(*words):
    done = CliRunner().invoke(app, ["datasets", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0
    return done.stdout


def test_the_verb_lists_all(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    listed = say()
    assert all(f" {name} " in listed for name in catalog.PUBLIC)
    assert [one["name"] for one in json.loads(say("--json"))] == list(catalog.PUBLIC)


@pytest.mark.usefixtures("entry")
def test_the_verb_tells_of_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    told = say("oxford_pet")
    assert "CC BY-SA 4.0" in told and "Cats and Dogs. CVPR 2012" in told and "sha256 published" in told and "not known outside of a checkout" in told
    (tmp_path / "params.yaml").touch()
    (tmp_path / "dvc.yaml").touch()
    assert "Here:     not fetched yet" in say("oxford_pet")
    get(Checkout(tmp_path).public("oxford_pet"))
    assert "files, fetched" in say("oxford_pet")
    assert json.loads(say("oxford_pet", "--json"))["archives"][0]["checksum"].startswith("sha256:")
    with pytest.raises(DataError, match=r"no public data set 'oxfordpet' in the catalogue. Did you mean oxford_pet\?"):
        say("oxfordpet")


def test_the_verb_writes_pages(tmp_path):
    say("--out", str(tmp_path / "data"))
    assert {page.parent.name for page in (tmp_path / "data").rglob("README.md")} == set(catalog.PUBLIC)
    with pytest.raises(DataError, match="one of the two"):
        say("--out", str(tmp_path), "--json")
