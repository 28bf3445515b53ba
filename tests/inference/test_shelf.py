"""Bundles found, reloaded, and kept when their successor is broken."""

import logging
from pathlib import Path

import pytest

from services.inference.shelf import Shelf
from tests.inference.small_bundle import write_bundle


def test_broken_successor_is_refused_and_the_bundle_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf([tmp_path])
    assert not shelf.refresh()
    folder = write_bundle(tmp_path / "small")
    assert shelf.refresh()
    first = shelf.bundles["small"]
    assert not shelf.refresh()  # nothing changed, nothing loaded

    write_bundle(folder, version="1.1.0", sha256="0" * 64)
    with caplog.at_level(logging.ERROR):
        assert not shelf.refresh()
    assert shelf.bundles["small"] is first
    assert shelf.refused == 1
    assert "model.onnx: sha256" in caplog.text
    assert "small@1.0.0" in caplog.text
    assert not shelf.refresh()
    assert shelf.refused == 1  # complains once a change

    write_bundle(folder, version="1.1.0")
    assert shelf.refresh()
    assert shelf.bundles["small"].manifest.version == "1.1.0"


def test_folder_that_goes_takes_its_bundle_along(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "small")
    shelf = Shelf([folder])
    assert shelf.refresh()
    for path in folder.iterdir():
        path.unlink()
    assert shelf.refresh()
    assert shelf.bundles == {}


def test_two_folders_with_one_name_keep_the_first(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a")
    write_bundle(tmp_path / "b", title="Another")
    shelf = Shelf([tmp_path])
    assert shelf.refresh()
    assert shelf.bundles["small"].manifest.title == "Small"
    assert shelf.refused == 1


def test_a_reference_judges_only_where_it_is_named(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "small", purpose="reference")
    plain, named = Shelf([tmp_path]), Shelf([tmp_path], ["small"])
    assert not plain.refresh()
    assert (plain.bundles, plain.refused) == ({}, 0)
    assert named.refresh()
    assert "small" in named.bundles
    write_bundle(folder, title="Now a detector")
    assert plain.refresh()
    assert "small" in plain.bundles
    write_bundle(folder, purpose="reference", title="And back")
    assert plain.refresh()
    assert plain.bundles == {}
