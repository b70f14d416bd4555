"""`download` of every dataset card against a server with the real layouts, then `run` without a socket: the oracle scores exactly 1."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path

import pytest
from acquiring import Bench, download, make, parquet, ref
from make_mirror import Hosts
from mirror import QUOTA_PAGE, Served, always, page, status

# The authors' word lists are not ours to copy: the ones served here are others, which is said.
pytestmark = pytest.mark.filterwarnings("ignore::ldznet_bench.errors.BenchWarning")


def oracle_scores_one(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, card: Path) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", refuse)
        code, out, err = bench("run", "--models", "oracle", "--datasets", name, "--card", card, "--json", "--quiet")
    assert code == 0, err
    (run,) = json.loads(out)["runs"]
    assert run["metrics"]["miou"] == 1
    assert run["metrics"]["oiou"] == 1


@pytest.mark.parametrize("family", ["phrasecut", "refcoco", "refcoco+", "refcocog", "aigi", "grefcoco", "refcoco-m", "refcoco-m-old", "reasonseg"])
def test_from_nothing_to_an_oracle_of_one(bench: Bench, hosts: Hosts, monkeypatch: pytest.MonkeyPatch, family: str, tmp_path: Path) -> None:
    name, card = make(hosts, family)
    said = download(bench, name, "--card", card)
    assert said["done"][0]["prepared"][0]["name"] == name
    assert said["done"][0]["prepared"][0]["partial"] == []
    assert said["done"][0]["prepared"][0]["problems"] == 0
    assert not list((tmp_path / "home").glob("archives/**/*.zip"))
    oracle_scores_one(bench, monkeypatch, name, card)


@pytest.mark.parametrize("family", ["phrasecut", "refcoco"])
def test_the_second_command_asks_for_nothing(bench: Bench, hosts: Hosts, family: str) -> None:
    name, card = make(hosts, family)
    first = download(bench, name, "--card", card)
    asked = len(hosts.mirror.asked)
    second = download(bench, name, "--card", card, "--offline")
    assert len(hosts.mirror.asked) == asked
    assert second["done"][0]["prepared"] == first["done"][0]["prepared"]
    assert all(line["state"] == "here" for line in second["plan"][0]["files"])


def test_phrasecut_when_drive_is_dead_comes_from_the_hub(bench: Bench, hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    name, card = make(hosts, "phrasecut")
    for served in hosts.drive.files.values():
        served.script = always(page(QUOTA_PAGE))
    download(bench, name, "--card", card)
    oracle_scores_one(bench, monkeypatch, name, card)


def test_phrasecut_when_drive_and_the_hub_are_dead_comes_from_the_authors_zip(bench: Bench, hosts: Hosts) -> None:
    name, card = make(hosts, "phrasecut")
    archive = hosts.drive.files["1SGVzPWkNaBOSbrlGGgsNTG4uGonQhE2U"]
    for served in hosts.drive.files.values():
        if served is not archive:
            served.script = always(status(404))
    hosts.hub.repos.clear()
    assert download(bench, name, "--card", card)["done"][0]["prepared"][0]["samples"] == 25


def test_phrasecut_when_single_images_are_refused_takes_both_zips(bench: Bench, hosts: Hosts) -> None:
    name, card = make(hosts, "phrasecut")
    for path in list(hosts.mirror.served):
        if path.endswith(".jpg"):
            hosts.mirror.served[path] = Served(b"", always(status(403)))
    prepared = download(bench, name, "--card", card)["done"][0]["prepared"][0]
    assert prepared["problems"] == 0
    assert {"VG_100K_2/images.zip", "VG_100K_2/images2.zip"} <= {"/".join(asked.path.split("/")[-2:]) for asked in hosts.mirror.asked}


def test_refcoco_when_the_archive_is_dead_comes_from_parquet(bench: Bench, hosts: Hosts) -> None:
    name, card = make(hosts, "refcoco")
    for path, served in hosts.mirror.served.items():
        if path.endswith("refcoco.zip"):
            served.script = always(status(404))
    import yaml

    content = yaml.safe_load(card.read_text())
    # Parquet copies lack the original's bytes: a card that states their hash would rightly refuse them.
    for item in content["files"]["items"]:
        item["sha256"] = item["size"] = None
    content["partitions"]["unc"]["splits"]["testA"] = {"images": 3, "refs": 3, "phrases": 3}
    card.write_text(yaml.safe_dump(content))
    rows = [ref(number, "testA") for number in range(3)]
    hosts.hub.add("jxu124/refcoco", {"data/test-00000-of-00001-82af0c1b600890ac.parquet": parquet(rows)}, kind="dataset")
    picture = next(served.content for path, served in hosts.mirror.served.items() if path.endswith(".jpg"))
    for row in rows:
        hosts.serve(f"http://images.cocodataset.org/train2014/COCO_train2014_{row['image_id']:012d}.jpg", picture)
    prepared = download(bench, name, "--card", card)["done"][0]["prepared"][0]
    assert (prepared["samples"], prepared["images"]) == (3, 3)


def test_aigi_when_the_listing_is_cut_at_50_is_refused(bench: Bench, hosts: Hosts) -> None:
    name, card = make(hosts, "aigi")
    top = "1oZDJu5Y7nqN23Fcb6kCvXy1Do69l_YkQ"
    hosts.drive.folders[top] = hosts.drive.folders[top][:50]
    code, _, err = bench("download", name, "--card", card, "--quiet")
    assert code == 2
    assert "it lists 50 image files where the card says 60" in err
    assert f"open https://drive.google.com/drive/folders/{top}" in err


def test_aigi_by_hand_from_drives_zips(bench: Bench, hosts: Hosts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import zipfile

    name, card = make(hosts, "aigi")
    (tmp_path / "mine").mkdir()
    files = sorted(path for path in (hosts.folder / "AIGI").rglob("*") if path.is_file())
    for number in range(2):
        with zipfile.ZipFile(tmp_path / "mine" / f"AIGI-20261101T101112Z-{number + 1:03d}.zip", "w") as file:
            for path in files[number::2]:
                file.write(path, f"AIGI/{path.relative_to(hosts.folder / 'AIGI')}")
    download(bench, name, "--card", card, "--from", tmp_path / "mine", "--offline")
    assert not hosts.mirror.asked
    oracle_scores_one(bench, monkeypatch, name, card)


def test_everything_dead_ends_in_a_recipe(bench: Bench, hosts: Hosts) -> None:
    name, card = make(hosts, "phrasecut")
    for served in hosts.drive.files.values():
        served.script = always(page(QUOTA_PAGE))
    hosts.hub.repos.clear()
    code, _, err = bench("download", name, "--card", card, "--quiet")
    assert code == 2
    assert "refer_test.json\n    drive.google.com: a web page instead of the file: Drive's quota" in err
    assert "huggingface.co: HTTP 404" in err
    assert "archive: annotations.zip cannot be had (drive.google.com: " in err
    assert "open https://drive.google.com/file/d/1jrzXm1gcq6f5hNDeamZd0UmyyHUv61IZ/view" in err
    assert f"ldznet-bench download {name} --from FOLDER" in err


def test_a_mirror_of_ones_own_comes_first(bench: Bench, hosts: Hosts) -> None:
    name, card = make(hosts, "refcoco")
    hosts.mirror.add_tree(hosts.folder / "refer", "/lab/refer")
    asked = len(hosts.mirror.asked)
    download(bench, name, "--card", card, "--mirror", f"{hosts.mirror.base}/lab")
    paths = {one.path.split("/")[1] for one in hosts.mirror.asked[asked:]}
    assert "lab" in paths
    assert not any(one.path.endswith("refcoco.zip") for one in hosts.mirror.asked)


def test_what_came_is_scored_to_a_table(bench: Bench, hosts: Hosts) -> None:
    """Today's sets, each from its host to a table under today's rules."""
    cards: list[object] = []
    names = []
    for family in ("grefcoco", "refcoco-m", "reasonseg"):
        name, card = make(hosts, family)
        download(bench, name, "--card", card)
        names.append(name)
        cards += ["--card", card]
    code, out, err = bench("run", "--models", "oracle,empty,full", "--datasets", ",".join(names), "--protocol", "gres@1", *cards)
    assert code == 0, err
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith(("oracle", "empty", "full"))}
    assert [float(cell.strip("*")) for cell in lines["oracle"]] == [100, 100, 100]
    assert 0 < float(lines["empty"][0]) < 100
    code, _, err = bench("run", "--models", "oracle", "--datasets", names[0], "--protocol", "refer@1", *cards)
    assert code == 2
    assert "refer@1 has no rule for samples without target" in err


def test_negatives_are_made_from_what_came(bench: Bench, hosts: Hosts) -> None:
    """The release of PhraseCut is all that its negatives need; a model that never answers is right about every one of them."""
    name, card = make(hosts, "phrasecut")
    download(bench, name, "--card", card)
    code, out, err = bench("run", "--models", "empty,full", "--datasets", "phrasecut-negatives:test", "--protocol", "gres@1", "--json", "--quiet")
    assert code == 0, err
    silent, loud = (run["metrics"] for run in json.loads(out)["runs"])
    assert (silent["giou"], silent["n_acc"], silent["t_acc"], silent["ciou"]) == (1, 1, None, None)
    assert (loud["giou"], loud["n_acc"], loud["ciou"]) == (0, 0, 0)


def test_grefcoco_when_the_hub_is_dead_comes_from_the_authors_zip(bench: Bench, hosts: Hosts) -> None:
    name, card = make(hosts, "grefcoco")
    hosts.hub.repos.clear()
    assert download(bench, name, "--card", card)["done"][0]["prepared"][0]["samples"] > 0


def test_reasonseg_by_hand_from_its_zips(bench: Bench, hosts: Hosts, tmp_path: Path) -> None:
    name, card = make(hosts, "reasonseg")
    (tmp_path / "mine").mkdir()
    for file_id, path, _ in hosts.drive.folders["125mewyg5Ao6tZ3ZdJ-1-E3n04LGVELqy"]:
        (tmp_path / "mine" / path).write_bytes(hosts.drive.files[file_id].content)
    asked = len(hosts.mirror.asked)
    said = download(bench, name, "--card", card, "--from", tmp_path / "mine", "--offline")
    assert said["done"][0]["prepared"][0]["samples"] == 6
    assert len(hosts.mirror.asked) == asked


def test_two_splits_share_what_they_need(bench: Bench, hosts: Hosts) -> None:
    _, card = make(hosts, "refcoco")
    download(bench, "refcoco:testA", "--card", card)
    before = hosts.mirror.count()
    said = download(bench, "refcoco", "--card", card)
    assert [one["name"] for one in said["done"][0]["prepared"]] == [f"refcoco-unc:{split}" for split in ("train", "val", "testA", "testB")]
    after = hosts.mirror.count()
    assert all(after[path] == before[path] for path in before)


def test_a_dry_run_fetches_nothing(bench: Bench, hosts: Hosts, tmp_path: Path) -> None:
    name, card = make(hosts, "phrasecut")
    code, out, _ = bench("download", name, "--card", card, "--dry-run")
    assert code == 0
    assert "licence: none stated for the annotations" in out
    assert "refer_test.json" in out
    assert "to fetch:" in out
    assert not hosts.mirror.asked
    assert not (tmp_path / "home").exists()


def test_a_prepared_set_records_what_it_was_made_from(bench: Bench, hosts: Hosts, tmp_path: Path) -> None:
    name, card = make(hosts, "phrasecut")
    download(bench, name, "--card", card)
    (meta,) = (tmp_path / "home" / "prepared" / name).glob("*/meta.json")
    recorded = json.loads(meta.read_text())["files"]
    release = hosts.folder / "VGPhraseCut_v0"
    assert recorded == {
        str(tmp_path / "home" / "datasets" / "VGPhraseCut_v0" / path): hashlib.sha256((release / path).read_bytes()).hexdigest()
        for path in ("refer_test.json", "image_data_split3000.json", "name_att_rel_count.json", "utils/subset.py")
    }
