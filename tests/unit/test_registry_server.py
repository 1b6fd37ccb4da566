"""The registry behind a real `mlflow server`, which keeps the artifacts itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from model_parts import fresh_store, model_folder
from servers import mlflow_server

from segline import registry

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with mlflow_server(tmp_path, store=fresh_store(tmp_path / "store")) as started:
        yield started.address


def test_a_model_goes_to_the_server_and_comes_back(server: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "models" / "unet")
    receipt = registry.register(store=server, folder=folder)
    assert registry.register(store=server, folder=folder) == receipt
    version = registry.resolve(store=server, uri="models:/ramps-unet@candidate")
    assert (version.number, version.metrics["miou"]) == (1, 0.9)
    with registry.onnx_file(store=server, version=version) as file:
        assert file.read_bytes() == folder.onnx.read_bytes()
    registry.move(store=server, version=version, alias="staging", tags={"segline.staging.0001": "{}"})
    assert registry.find(store=server, name="ramps-unet", alias="staging").aliases == ("candidate", "staging")


def test_a_password_in_the_address_is_kept_nowhere(server: str, tmp_path: Path) -> None:
    address = server.replace("http://", "http://someone:s3c@ret@")
    receipt = registry.register(store=address, folder=model_folder(tmp_path / "models" / "unet"))
    version = registry.find(store=address, name="ramps-unet", alias="candidate")
    registry.move(store=address, version=version, alias="staging", tags={"segline.staging.0001": "{}"})
    assert receipt.store == server
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"s3c" not in file.read_bytes(), file
