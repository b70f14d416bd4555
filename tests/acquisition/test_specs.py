"""The `files:` sections: what a card may say, what is refused with a line number, and what every card that ships says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ldznet_bench.acquisition.specs import Capture, CardFiles, FileSpec, Mirror, format_size, kind_of, parse_size
from ldznet_bench.cards import card_names, read_card
from ldznet_bench.datasets.card import dataset_card
from ldznet_bench.errors import BenchError
from ldznet_bench.models.card import model_card

GOOD = """
root: VGPhraseCut_v0
accept: Nothing.
items:
  - {path: a.json, about: 30.4 MB, splits: [test], mirrors: [{drive: 1jrzXm1gcq6f5hNDeamZd0UmyyHUv61IZ}, {member: {of: z.zip, path: a.json}}]}
  - path: z.zip
    role: archive
    size: 12
    sha256: 2547905472dbc0c60d9243c39fb903473e49978610626f8dd981fa6d7c36d664
    mirrors: [{web_archive: {at: "20220413011718", url: "https://dead.example/z.zip"}}]
repos:
  - {repo: owner/name, path: model, files: [config.json, {name: x/model.safetensors, about: 1.5 GB, need: optional}]}
images: {path: "images/{image_id}.jpg", listing: phrasecut, urls: ["{url}"]}
"""


def read(tmp_path: Path, text: str) -> CardFiles:
    (tmp_path / "card.yaml").write_text(text)
    return read_card(tmp_path / "card.yaml", CardFiles)


def test_a_card_with_everything(tmp_path: Path) -> None:
    files = read(tmp_path, GOOD)
    assert [file.path for file in files.files] == ["a.json", "z.zip", "model/config.json", "model/x/model.safetensors"]
    assert [file.path for file in files.needed(["test"])] == ["a.json", "model/config.json"]
    assert [file.path for file in files.needed(["val"])] == ["model/config.json"]
    assert [file.path for file in files.needed([], ["model/x/model.safetensors"])][-1] == "model/x/model.safetensors"
    assert files.file("a.json").weight == 30_400_000
    assert files.file("z.zip").weight == 12


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("root: VGPhraseCut_v0", "root: ../up", "not a path below its folder"),
        ("path: a.json, about", "path: /etc/a.json, about", "not a path below its folder"),
        ("drive: 1jrzXm1gcq6f5hNDeamZd0UmyyHUv61IZ", "drive: short", "no Drive id"),
        ("drive: 1jrzXm1gcq6f5hNDeamZd0UmyyHUv61IZ", "drv: 1jrzXm1gcq6f5hNDeamZd0UmyyHUv61IZ", "Did you mean 'drive'"),
        ("{member: {of: z.zip, path: a.json}}", "{https: ftp://h/a}", "no http(s) address"),
        ("{member: {of: z.zip, path: a.json}}", "{https: 'https://h/a', drive: 1jrzXm1gcq6f5hNDeamZd0UmyyHUv61IZ}", "exactly one of"),
        ("of: z.zip, path: a.json", "of: y.zip, path: a.json", "no archive of this card"),
        ("about: 30.4 MB", "about: large", "no size"),
        ("sha256: 2547", "sha256: xx47", "64 lower-case hex digits"),
        ("path: z.zip", "path: a.json", "declared twice"),
        ("role: archive", "role: archiv", "Did you mean 'archive'"),
        ("need: optional", "need: maybe", "'required'"),
        ('urls: ["{url}"]', "urls: []", "urls or archives"),
        ("mirrors: [{drive: 1jrzXm1gcq6f5hNDeamZd0UmyyHUv61IZ}, {member: {of: z.zip, path: a.json}}]", "mirrors: []", "no mirror"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(BenchError) as caught:
        read(tmp_path, GOOD.replace(old, new))
    assert "card.yaml:" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["phrasecut", "refcoco", "refcoco+", "refcocog", "aigi"])
def test_every_dataset_card_says_how_it_is_fetched(name: str) -> None:
    card = dataset_card(name)
    assert card.files is not None
    assert card.files.folder or card.files.needed([])


def test_every_weight_file_that_a_card_names_has_its_place() -> None:
    roots: dict[str, CardFiles] = {}
    for name in card_names("baselines"):
        for part, about in model_card(name).parts.items():
            sources = [source for source in about.sources if source.download is not None]
            for source in sources:
                files = source.download
                assert roots.setdefault(files.root, files) == files, f"{files.root} is two different things"
            if sources:
                # Where the loader looks for a part that was not given by hand.
                assert sources[0].download.root == part


def test_phrasecuts_word_lists_are_pinned() -> None:
    from ldznet_bench.datasets.phrasecut_words import OFFICIAL_SHA256

    spec = dataset_card("phrasecut").files.file("utils/subset.py")
    assert spec.sha256 == OFFICIAL_SHA256
    assert all("276470b7773d8a230aee5b5536876fbc485fb04b" in mirror.page for mirror in spec.mirrors)


def test_a_capture_is_asked_for_without_its_frame() -> None:
    mirror = Mirror(web_archive=Capture("20220413011718", "https://dead.example/z.zip"))
    assert mirror.web_archive.address == "https://web.archive.org/web/20220413011718id_/https://dead.example/z.zip"
    assert mirror.page == "https://web.archive.org/web/20220413011718/https://dead.example/z.zip"


@pytest.mark.parametrize(("text", "size"), [("0 B", 0), ("140 kB", 140_000), ("30.4 MB", 30_400_000), ("7.7 GB", 7_700_000_000), (None, None)])
def test_sizes(text: str | None, size: int | None) -> None:
    assert parse_size(text) == size
    assert parse_size(format_size(size) if size else text) == size


def test_kinds_by_name() -> None:
    assert [kind_of(name) for name in ("a.JPG", "refs(unc).p", "x.ckpt", "y.tar.gz", "z")] == ["image", "pickle", "torch", "tar", "any"]
    assert FileSpec("a.json", (Mirror(https="https://h/a"),), kind="text").content == "text"
