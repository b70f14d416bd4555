import json
import shutil

import make_releases
import numpy as np
import pytest

from ldznet_bench.datasets.phrasecut_subsets import RANK_SUBSETS, SUBSETS, WORD_SUBSETS
from ldznet_bench.errors import DataError
from ldznet_bench.masks.rasterise import rasterise

SPLITS = ("train", "val", "test", "miniv")


@pytest.fixture
def release(tmp_path):
    return make_releases.phrasecut(tmp_path / "data")


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize("split", SPLITS)
def test_subsets_equal_the_official_ones_but_for_word_lists(load, goldens, golden, split):
    expected = golden("phrasecut_subsets")["tasks"]
    data = load(f"phrasecut:{split}", goldens / "phrasecut")
    samples = [sample for group in data.groups() for sample in group.samples]
    assert {sample.sample_id for sample in samples} == {task for task, each in expected.items() if each["split"] == split}
    for sample in samples:
        assert list(sample.tags) == [tag for tag in expected[sample.sample_id]["subsets"] if tag not in WORD_SUBSETS]
    assert set(data.absent_tags) == set(WORD_SUBSETS)
    assert all("utils/subset.py" in reason for reason in data.absent_tags.values())


@pytest.mark.parametrize("split", SPLITS)
def test_all_43_subsets_equal_the_official_ones_with_word_lists(load, goldens, golden, subset_words, split):
    expected = golden("phrasecut_subsets")
    assert list(SUBSETS) == expected["subset_names"]
    data = load(f"phrasecut:{split}", goldens / "phrasecut", word_lists=subset_words)
    for group in data.groups():
        for sample in group.samples:
            assert list(sample.tags) == expected["tasks"][sample.sample_id]["subsets"]
    assert data.absent_tags == {}


def test_geometry_gives_the_official_masks(load, goldens, golden):
    expected = golden("phrasecut_subsets")["tasks"]
    for group in load("phrasecut:test", goldens / "phrasecut").groups():
        for sample in group.samples:
            geometry = sample.geometry
            mask = rasterise(geometry.parts, geometry.height, geometry.width, "pil")
            assert np.count_nonzero(mask) == expected[sample.sample_id]["gt_pixels"]


def test_order_ids_and_phrases_are_clipsegs(load, goldens, golden):
    expected = golden("clipseg_samples")
    groups = {int(group.image.image_id): group for group in load("phrasecut:test", goldens / "phrasecut").groups()}
    for (image_id, number), task_id, phrase in zip(expected["sample_ids"], expected["task_ids"], expected["phrases"], strict=True):
        sample = groups[image_id].samples[number]
        assert (sample.sample_id, sample.phrase) == (task_id, phrase)


def test_images_come_in_order_of_first_appearance_and_samples_in_source_order(load, release):
    tasks = json.loads((release / "refer_test.json").read_text())
    data = load("phrasecut:test", release)
    first_seen = list(dict.fromkeys(str(task["image_id"]) for task in tasks))
    assert data.image_ids() == first_seen
    expected = [task["task_id"] for image in first_seen for task in tasks if str(task["image_id"]) == image]
    assert data.sample_ids() == expected
    assert [group.index for group in data.groups()] == list(range(len(first_seen)))
    assert [group.first for group in data.groups()] == [expected.index(group.samples[0].sample_id) for group in data.groups()]


def test_samples_hold_what_the_source_states(load, release):
    task = json.loads((release / "refer_test.json").read_text())[3]
    image, sample = load("phrasecut:test", release).find(task["task_id"])
    assert sample.phrase == task["phrase"]
    assert sample.category == task["phrase_structure"]["name"]
    assert [list(box) for box in sample.boxes] == task["instance_boxes"]
    assert [[part.xy.tolist() for part in instance] for instance in sample.geometry.instances] == task["Polygons"]
    assert (image.width, image.height, image.coco_id) == (120, 90, task["image_id"] if task["image_id"] % 2 else None)
    assert image.path == release / "images" / f"{task['image_id']}.jpg"


@pytest.mark.parametrize("where", [".", "VGPhraseCut_v0", "data/VGPhraseCut_v0", "phrasecut"])
def test_releases_are_found_where_people_keep_them(load, release, tmp_path, where):
    target = tmp_path / "kept" / where
    if where == ".":
        target = tmp_path / "kept"
    target.parent.mkdir(exist_ok=True, parents=True)
    shutil.copytree(release, target)
    assert len(load("phrasecut:test", tmp_path / "kept")) == 20


def test_both_names_of_the_image_list_and_folders_of_visual_genome(load, release):
    (release / "image_data_split.json").rename(release / "image_data_split3000.json")
    (release / "images").rename(release.parent / "VG_100K_2")
    assert load("phrasecut:test", release).problems() == []


def test_without_the_frequency_list_rank_subsets_are_absent_not_false(load, release):
    (release / "name_att_rel_count.json").unlink()
    data = load("phrasecut:test", release)
    assert set(data.absent_tags) == {*RANK_SUBSETS, *WORD_SUBSETS}
    assert not {tag for group in data.groups() for sample in group.samples for tag in sample.tags} & set(RANK_SUBSETS)


def test_old_release_is_told_by_counts(load, release, tmp_path):
    card = tmp_path / "phrasecut.yaml"
    card.write_text(
        "family: phrasecut\ntitle: t\nformat: phrasecut\nsummary: s\nsample_id: i\nlicence: l\nhomepage: null\ncitation: null\n"
        "splits:\n  test: {images: 5, phrases: 10, older: [{release: before 2020-04-15, images: 6, phrases: 20}]}\n"
    )
    data = load("phrasecut:test", release, card=card)
    assert data.release == "before 2020-04-15"
    assert "before 2020-04-15" in data.partial[0]


def test_counts_that_differ_are_partial(load, release):
    assert load("phrasecut:test", release).partial == ("images: 2,545 expected, 6 found", "phrases: 14,354 expected, 20 found")


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda tasks: tasks[4].pop("phrase"), "element 4 (task_id '2300028__40"),
        (lambda tasks: tasks[4].pop("phrase"), "'phrase' is missing"),
        (lambda tasks: tasks[4].update(phrase=3), "'phrase' should be text, is 3"),
        (lambda tasks: tasks[4].pop("task_id"), "element 4: 'task_id' is missing"),
        (lambda tasks: tasks[4].update(task_id=""), "'task_id' should be"),
        (lambda tasks: tasks[4].update(image_id=1), "its image 1 is not in"),
        (lambda tasks: tasks[4].update(image_id=None), "'image_id' should be"),
        (lambda tasks: tasks[4].update(Polygons=[[[[1, 2], [3]]]]), "'Polygons' should hold"),
        (lambda tasks: tasks[4].update(Polygons=[[[[1, 2], [3, "4"]]]]), "'Polygons' should hold"),
        (lambda tasks: tasks[4].update(Polygons=[[[[1, 2], [3, None]]]]), "'Polygons' should hold"),
        (lambda tasks: tasks[4].update(Polygons=[[[[1, 2], [3, True]]]]), "'Polygons' should hold"),
        (lambda tasks: tasks[4].update(Polygons=[[[[1, 2], [3, float("nan")]]]]), "'Polygons' should hold"),
        (lambda tasks: tasks[4].update(Polygons=[[1, 2]]), "'Polygons' should hold"),
        (lambda tasks: tasks[4].update(Polygons={}), "'Polygons' should be a list"),
        (lambda tasks: tasks[4].update(Polygons=[[[[0, 0], [1e300, 0], [0, 1e300]]]]), "'Polygons': "),
        (lambda tasks: tasks[4].update(instance_boxes=[[1, 2, 3]]), "'instance_boxes' should hold boxes of four finite numbers"),
        (lambda tasks: tasks[4].update(phrase_structure=[]), "'phrase_structure' should be an object"),
        (lambda tasks: tasks[4]["phrase_structure"].update(attributes=[1]), "'attributes' should hold texts only"),
        (lambda tasks: tasks.__setitem__(4, 7), "element 4: an object was expected, found 7"),
    ],
)
def test_damaged_tasks_are_named_with_file_index_and_id(load, release, change, said):
    edit(release / "refer_test.json", change)
    with pytest.raises(DataError) as caught:
        load("phrasecut:test", release)
    assert "refer_test.json, element 4" in str(caught.value)
    assert said in str(caught.value)


def test_odd_but_real_geometry_is_kept_and_counted(load, release):
    odd = [[[[1, 1], [500, 1], [1, 80]]], [[]], [[[3, 4]], [[5, 6], [7, 8]]], []]
    edit(release / "refer_test.json", lambda tasks: tasks[4].update(Polygons=odd))
    data = load("phrasecut:test", release)
    sample = next(s for g in data.groups() for s in g.samples if len(s.geometry.instances) == 4 and not s.geometry.instances[3])
    assert [[part.xy.tolist() for part in instance] for instance in sample.geometry.instances] == odd
    assert data.oddities() == {"polygon-outside-canvas": 1, "polygon-under-3-points": 1}


def test_duplicate_ids_name_both_places(load, release):
    edit(release / "refer_test.json", lambda tasks: tasks[17].update(task_id=tasks[4]["task_id"]))
    with pytest.raises(DataError, match=r"given twice: by sample 4 \(on image 2300028\) and by sample 17 \(on image 2300035\)"):
        load("phrasecut:test", release)


def test_truncated_json_names_file_and_place(load, release):
    path = release / "refer_test.json"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"refer_test\.json, line 1, column \d+: the file ends too early \(element \d+"):
        load("phrasecut:test", release)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda r: shutil.rmtree(r.parent), "cannot be read: No such file"),
        (lambda r: (r / "refer_test.json").rename(r / "refer_val.json"), "has refer_val.json only"),
        (lambda r: (r / "refer_test.json").rename(r / "refer_input_test.json"), "without the masks"),
        (lambda r: (r / "refer_test.json").rename(r / "finetune_phrasecut_test.json"), "MDETR's copy"),
        (lambda r: (r / "image_data_split.json").unlink(), "has neither image_data_split.json nor image_data_split3000.json"),
        (lambda r: (shutil.rmtree(r), make_releases.refer(r.parent)), "There is refer/"),
        (lambda r: (shutil.rmtree(r), make_releases.refer(r.parent), (r.parent / "refer").rename(r)), "is a REFER release"),
        (lambda r: shutil.rmtree(r), "There is nothing in it"),
    ],
)
def test_missing_and_wrong_releases_are_told(load, release, change, said):
    change(release)
    with pytest.raises(DataError) as caught:
        load("phrasecut:test", release.parent)
    assert said in str(caught.value)
    assert "phrasecut" in str(caught.value) or "VGPhraseCut" in str(caught.value) or "data root" in str(caught.value)


def test_no_data_root_says_how_to_give_it(load):
    with pytest.raises(DataError, match="--data-root DIR"):
        load("phrasecut:test")


def test_downloads_under_the_home_need_no_data_root(load, release, tmp_path):
    shutil.copytree(release, tmp_path / "home" / "datasets" / "VGPhraseCut_v0")
    assert len(load("phrasecut:test")) == 20


def test_text_that_is_not_unicode_is_told(load, release):
    edit(release / "refer_test.json", lambda tasks: tasks[4].update(phrase="half \ud83d"))
    with pytest.raises(DataError, match=r"sample '2300028__40[_0-9]*' holds text that is not Unicode"):
        load("phrasecut:test", release)


@pytest.mark.parametrize("width", [0, -3, 2.5, 10**7, 10**30, "120"])
def test_sizes_of_images_are_checked(load, release, width):
    edit(release / "image_data_split.json", lambda images: images[2].update(width=width))
    with pytest.raises(DataError, match=r"image_data_split\.json, element 2: 'width'"):
        load("phrasecut:test", release)
