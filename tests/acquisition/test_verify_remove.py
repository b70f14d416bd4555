"""`verify` names every bad file and how to mend it; `remove` takes away what was fetched and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from acquiring import Bench, download, flip, make
from make_mirror import Hosts

pytestmark = pytest.mark.filterwarnings("ignore::ldznet_bench.errors.BenchWarning")


@pytest.fixture
def here(bench: Bench, hosts: Hosts, tmp_path: Path) -> tuple[str, Path, Path]:
    """PhraseCut test, downloaded: its name, card and folder."""
    name, card = make(hosts, "phrasecut")
    download(bench, name, "--card", card)
    return name, card, tmp_path / "home" / "datasets" / "VGPhraseCut_v0"


def verify(bench: Bench, name: str, card: Path, *options: str) -> tuple[int, dict]:
    code, out, _ = bench("verify", name, "--card", card, "--json", *options)
    return code, json.loads(out)[0]


def test_a_whole_release(bench: Bench, here: tuple[str, Path, Path]) -> None:
    name, card, folder = here
    code, report = verify(bench, name, card)
    assert (code, report["bad"], report["differences"], report["mend"]) == (0, [], [], None)
    assert report["checked"] == len(list(folder.rglob("*.*")))


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_every_bad_image_is_named_and_mended(bench: Bench, here: tuple[str, Path, Path], damage: str) -> None:
    name, card, folder = here
    bad = sorted((folder / "images").iterdir())[2:4]
    was = [path.read_bytes() for path in bad]
    for path in bad:
        {"flip": flip, "cut": lambda one: one.write_bytes(one.read_bytes()[:100]), "remove": lambda one: one.unlink()}[damage](path)
    code, report = verify(bench, name, card)
    assert code == 1
    assert [one["path"] for one in report["bad"]] == [str(path) for path in bad]
    assert report["mend"] == f"ldznet-bench download {name}"
    download(bench, name, "--card", card)
    assert [path.read_bytes() for path in bad] == was
    assert verify(bench, name, card)[0] == 0


def test_a_bad_annotation_file(bench: Bench, here: tuple[str, Path, Path]) -> None:
    name, card, folder = here
    flip(folder / "refer_test.json")
    code, report = verify(bench, name, card)
    assert code == 1
    assert [Path(one["path"]).name for one in report["bad"]] == ["refer_test.json"]
    download(bench, name, "--card", card)
    assert verify(bench, name, card)[0] == 0


def test_counts_that_differ(bench: Bench, here: tuple[str, Path, Path]) -> None:
    import yaml

    name, card, _ = here
    content = yaml.safe_load(card.read_text())
    content["splits"]["test"]["phrases"] = 26
    card.write_text(yaml.safe_dump(content))
    code, report = verify(bench, name, card)
    assert (code, report["differences"]) == (1, ["phrasecut:test: phrases: 26 expected, 25 found"])
    assert verify(bench, name, card, "--allow-partial")[0] == 0


def test_nothing_is_there(bench: Bench, hosts: Hosts) -> None:
    name, card = make(hosts, "phrasecut")
    code, report = verify(bench, name, card)
    assert code == 1
    assert {one["fault"] for one in report["bad"]} == {"it is missing"}


def test_a_drive_folder(bench: Bench, hosts: Hosts, tmp_path: Path) -> None:
    name, card = make(hosts, "aigi")
    download(bench, name, "--card", card)
    bad = tmp_path / "home" / "datasets" / "AIGI" / "masks" / "img003_cars.png"
    flip(bad)
    code, report = verify(bench, name, card)
    assert (code, [one["path"] for one in report["bad"]]) == (1, [str(bad)])
    download(bench, name, "--card", card)
    assert verify(bench, name, card)[0] == 0


def test_remove_takes_everything_of_a_family(bench: Bench, here: tuple[str, Path, Path], tmp_path: Path) -> None:
    _, card, folder = here
    code, out, _ = bench("remove", "phrasecut", "--yes", "--card", card)
    assert code == 0
    assert str(folder) in out
    assert not folder.exists()
    assert not list((tmp_path / "home" / "prepared").glob("phrasecut*"))
    code, out, _ = bench("remove", "phrasecut", "--yes", "--card", card)
    assert "nothing of it" in out


def test_remove_asks(bench: Bench, here: tuple[str, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, card, folder = here
    monkeypatch.setattr("click.confirm", _abort)
    assert bench("remove", "phrasecut", "--card", card)[0] == 130
    assert folder.exists()


def _abort(*_: object, **__: object) -> None:
    import click

    raise click.Abort


def test_remove_keeps_the_images_that_another_family_needs(bench: Bench, hosts: Hosts, tmp_path: Path) -> None:
    cards = {family: make(hosts, family)[1] for family in ("refcoco", "refcoco+")}
    for family, card in cards.items():
        download(bench, f"{family}:testB", "--card", card)
    refer = tmp_path / "home" / "datasets" / "refer"
    images = len(list(refer.rglob("*.jpg")))
    code, out, _ = bench("remove", "refcoco", "--yes", "--card", cards["refcoco"])
    assert code == 0
    assert "kept: the images, which refcoco+ needs, too" in out
    assert not list((refer / "refcoco").glob("*"))
    assert len(list(refer.rglob("*.jpg"))) == images
    assert bench("remove", "refcoco+", "--yes", "--card", cards["refcoco+"])[0] == 0
    assert not refer.exists()


def test_pins_outlive_a_removal_unless_they_are_forgotten(bench: Bench, hosts: Hosts) -> None:
    import yaml

    name, card = make(hosts, "phrasecut")
    content = yaml.safe_load(card.read_text())
    for item in content["files"]["items"]:
        item["sha256"] = item["size"] = None
    card.write_text(yaml.safe_dump(content))
    download(bench, name, "--card", card)
    counts = json.loads((hosts.folder / "VGPhraseCut_v0" / "name_att_rel_count.json").read_text())
    other = json.dumps(counts | {"new": []}).encode()
    for served in (*hosts.drive.files.values(), *hosts.mirror.served.values()):
        if served.content.startswith(b'{"cat"'):
            served.content = other
    hosts.hub.repos.clear()
    hosts.drive.files.pop("1SGVzPWkNaBOSbrlGGgsNTG4uGonQhE2U")  # the archive still has what is pinned
    bench("remove", "phrasecut", "--yes", "--card", card)
    code, _, err = bench("download", name, "--card", card, "--quiet")
    assert code == 2
    assert "first seen" in err
    bench("remove", "phrasecut", "--yes", "--forget-pins", "--card", card)
    download(bench, name, "--card", card)


def test_files_outside_the_family_stay(bench: Bench, here: tuple[str, Path, Path], tmp_path: Path) -> None:
    _, card, _ = here
    mine = tmp_path / "home" / "datasets" / "mine.txt"
    mine.write_text("x")
    bench("remove", "phrasecut", "--yes", "--card", card)
    assert mine.read_text() == "x"
