import itertools
import re

import numpy as np
import pyarrow
import pyarrow.parquet as pq
import pytest
from PIL import Image, features

from ldznet_bench.datasets.card import dataset_card
from ldznet_bench.datasets.load import load_dataset
from ldznet_bench.masks.rasterise import rasterise
from ldznet_bench.minicut import generate, sheet
from ldznet_bench.minicut.figures import figures_of, through_latents
from ldznet_bench.minicut.pack import row_of
from ldznet_bench.minicut.phrases import entities
from ldznet_bench.minicut.splits import SIZES, labelled, mask_of, split_names
from ldznet_bench.minicut.words import CAPTION_ONLY
from ldznet_bench.share import shared

BUNDLED = split_names()
MADE_HERE = [(domain, split) for domain, split in BUNDLED if domain != "gen"]  # gen's pictures are made by a network
# The encoder whose bytes are bundled; libwebp comes inside Pillow's wheel.
PINNED = features.version("webp") is not None and Image.__version__.startswith("13.")


def bundled(domain, split):
    return shared("datasets") / "minicut" / generate.file_name(domain, split)


@pytest.fixture(scope="module")
def tables():
    return {name: pq.read_table(bundled(*name)).to_pylist() for name in BUNDLED}


@pytest.mark.parametrize(("domain", "split"), MADE_HERE)
def test_bundled_rows_are_what_the_generator_makes(domain, split, tables):
    rows = tables[domain, split]
    assert len(rows) == SIZES[split]
    for index in range(3, len(rows), len(rows) // 6):
        made = row_of(labelled(domain, split, index))
        if not PINNED:
            del made["image"], rows[index]["image"]
        assert made == rows[index]


@pytest.mark.slow
@pytest.mark.skipif(not PINNED or pyarrow.__version__ != "26.0.1", reason="the bytes are those of the pinned Pillow and pyarrow")
@pytest.mark.parametrize(("domain", "split"), MADE_HERE)
def test_bundled_files_are_what_the_generator_makes(domain, split):
    assert generate.make_split(domain, split) == bundled(domain, split).read_bytes()


def test_together_they_are_small():
    assert sum(bundled(*name).stat().st_size for name in BUNDLED) < 14e6


def test_test_splits_are_large_enough(tables):
    for domain in ("photo", "art", "gen", "refer"):
        for split in ("val", "test"):
            rows = tables[domain, split]
            assert len(rows) >= 250 and sum(len(row["phrases"]) for row in rows) >= 750


def test_every_picture_is_in_one_split_only(tables):
    pictures = [row["image"] for rows in tables.values() for row in rows]
    assert len(set(pictures)) == len(pictures)


def test_caption_only_nouns_are_in_test_splits_only(tables):
    for (domain, split), rows in tables.items():
        text = " ".join(phrase["phrase"] for row in rows for phrase in row["phrases"])
        tagged = sum("caption-only" in phrase["tags"] for row in rows for phrase in row["phrases"])
        assert (any(noun in text for noun in CAPTION_ONLY)) == (split == "test") == bool(tagged), (domain, split)
        assert split != "test" or tagged >= 100


@pytest.mark.parametrize("domain", ["photo", "art"])
def test_most_attributes_have_a_distractor(domain, tables):
    for split in ("train", "val", "test") if domain == "photo" else ("val", "test"):
        plain = [phrase["tags"] for row in tables[domain, split] for phrase in row["phrases"] if "p_att+" in phrase["tags"]]
        assert sum("distractor" in tags for tags in plain) >= 0.6 * len(plain)


def test_phrases_of_an_image_have_different_masks(tables):
    for (domain, _), rows in tables.items():
        least, most = {"refer": (3, 4), "gen": (3, 6)}.get(domain, (5, 6))
        for row in rows:
            truths = [tuple(phrase["instances"]) for phrase in row["phrases"]]
            assert least <= len(truths) <= most and len(set(truths)) == len(truths)


@pytest.mark.parametrize(("domain", "split"), BUNDLED)
def test_it_loads_as_its_card_says(domain, split, tmp_path):
    data = load_dataset(f"minicut-{domain}:{split}", home=tmp_path)
    assert data.partial == () and data.mini and data.problems() == [] and data.oddities() == {}
    expected = data.card.expected(domain, split)
    assert data.fingerprint == expected.fingerprint and (data.n_images, data.n_samples) == (expected.images, expected.phrases)
    if domain == "gen":
        return  # which scenes stayed is the network's doing
    group = data.group(11)
    item = labelled(domain, split, 11)
    for sample, phrase in itertools.zip_longest(group.samples, item.phrases):
        geometry = sample.geometry
        assert sample.phrase == phrase.text and sample.category == phrase.noun and len(geometry.instances) == len(phrase.truth)
        assert (rasterise(geometry.parts, 96, 96, "coco") == mask_of(phrase, item.layout)).all()
    decoded = np.asarray(Image.open(group.image.path).convert("RGB")).astype(int)
    assert np.abs(decoded - item.picture).mean() < 9


def test_another_fingerprint_is_told(tmp_path):
    card = (shared("datasets") / "minicut.yaml").read_text()
    right = dataset_card("minicut").partitions["refer"].splits["val"].fingerprint
    (tmp_path / "minicut.yaml").write_text(card.replace(right, "0" * 64))
    data = load_dataset("minicut-refer:val", home=tmp_path / "home", card=tmp_path / "minicut.yaml")
    assert data.partial == (f"fingerprint: {'0' * 64} expected, {right} found",)


def test_the_command_makes_a_split(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(SIZES, "val", 2)
    assert generate.main(["--to", str(tmp_path / "out"), "--only", "refer:val"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/out/refer-val.parquet\n"
    rows = pq.read_table(tmp_path / "out" / "refer-val.parquet").to_pylist()
    assert [row["image_id"] for row in rows] == ["refer-val-0000", "refer-val-0001"]


def test_the_command_names_the_nearest_split(tmp_path, capsys):
    assert generate.main(["--to", str(tmp_path), "--only", "photo:tset"]) == 2
    assert "Did you mean 'photo:test'?" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("domain", "split"), [pytest.param(*name, marks=[pytest.mark.slow] * ("train" in name)) for name in BUNDLED])
def test_figures_of_the_card_and_the_page_are_those_of_the_files(domain, split, tables):
    found = figures_of(tables[domain, split])
    assert dataset_card("minicut").figures[f"minicut-{domain}:{split}"] == found
    page = (shared("datasets").parent / "docs" / "minicut.md").read_text()
    header, *lines = [line.strip("|").split(" | ") for line in page.splitlines() if line.startswith("| ") and line.count(" | ") == 9]
    column = [cell.strip() for cell in header].index(f"{domain} {split}")
    assert [float(line[column]) for line in lines] == list(found.values())


def test_the_ceiling_is_that_of_torch():
    import torch

    draws = np.random.default_rng(0)
    for _ in range(20):
        row, column, height, width = draws.integers(2, 60, 4)
        mask = np.zeros((96, 96), dtype=bool)
        mask[row : row + height, column : column + width] = True
        cells = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(mask).double()[None, None], 24)
        wide = torch.nn.functional.interpolate(cells, size=(96, 96), mode="bilinear", align_corners=False)[0, 0].numpy()
        assert (through_latents(mask, smooth=True) == (wide >= 0.5)).all()
        assert (through_latents(mask, smooth=False) == (np.kron(cells[0, 0].numpy(), np.ones((4, 4))) >= 0.5)).all()


def test_the_sheet_is_a_picture(tmp_path, capsys):
    assert sheet.main([str(tmp_path / "sheet.jpg")]) == 0
    with Image.open(tmp_path / "sheet.jpg") as picture, Image.open(shared("datasets").parent / dataset_card("minicut").picture) as committed:
        assert picture.size == committed.size
    assert sheet.main([]) == 2 and "name one file" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("domain", "place"), [("photo", 0), ("refer", 1)])
def test_without_all_words_one_gets_as_far_as_the_page_says(domain, place):
    scores = []
    for index in range(SIZES["test"]):
        item = labelled(domain, "test", index)
        masks = [mask_of(phrase, item.layout) for phrase in item.phrases]
        for number, (phrase, mask) in enumerate(zip(item.phrases, masks, strict=True)):
            noun = [entity.number for entity in entities(item.layout) if entity.noun == phrase.noun]
            things = item.layout.owners >= len(item.layout.scene.regions)
            guesses = (np.isin(item.layout.owners, noun), things, masks[(number + 1) % len(masks)])
            scores.append([np.count_nonzero(guess & mask) / np.count_nonzero(guess | mask) for guess in guesses])
    page = (shared("datasets").parent / "docs" / "minicut.md").read_text().replace("\n", " ")
    found = re.search(r"perfectly, ([\d.]+) and ([\d.]+); all things ([\d.]+) and ([\d.]+); .*? means ([\d.]+) and ([\d.]+)\.", page)
    assert [f"{100 * score:.1f}" for score in np.mean(scores, axis=0)] == list(found.groups()[place::2])
