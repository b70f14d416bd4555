import fcntl
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import make_releases
import pytest

from ldznet_bench.datasets import prepare
from ldznet_bench.errors import BenchError, DataError

SCRIPT = """
import sys, time
from pathlib import Path
from ldznet_bench.datasets import prepare
from ldznet_bench.datasets.load import load_dataset
pause = float(sys.argv[3])
def progress(stage, done, total):
    print(stage, flush=True)
    time.sleep(pause)
data = load_dataset("phrasecut:test", data_root=Path(sys.argv[1]), home=Path(sys.argv[2]), progress=progress)
print("DONE", data.path.name, data.fingerprint, data.n_samples, flush=True)
"""


@pytest.fixture
def release(tmp_path):
    return make_releases.phrasecut(tmp_path / "data")


def folders(home):
    """What is visible of prepared sets."""
    return sorted(path.name for path in (home / "prepared" / "phrasecut:test").iterdir() if path.is_dir())


def content(data):
    return (data.path / "samples" / "data-00000-of-00001.arrow").read_bytes()


def start(release, home, pause=0.0):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(release), str(home), str(pause)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_set_is_made_once_and_opened_from_then_on(load, release, monkeypatch):
    first = load("phrasecut:test", release)
    monkeypatch.setattr(prepare, "_prepare", lambda *_: pytest.fail("made again"))
    second = load("phrasecut:test", release)
    assert (second.path, second.fingerprint, second.sample_ids()) == (first.path, first.fingerprint, first.sample_ids())


def test_progress_tells_every_stage(load, release):
    told = []
    load("phrasecut:test", release, progress=lambda *what: told.append(what))
    assert ("checking images", 6, 6) in told


@pytest.mark.parametrize("which", ["refer_test.json", "image_data_split.json", "name_att_rel_count.json", "images/2300000.jpg"])
def test_a_changed_file_makes_it_anew(load, release, which):
    before = load("phrasecut:test", release)
    path = release / which
    stat = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, same mtime: the change time alone gives it away
    assert load("phrasecut:test", release).path != before.path
    assert load("phrasecut:test", release).fingerprint == before.fingerprint


def test_a_missing_image_that_arrives_makes_it_anew(load, release):
    kept = (release / "images" / "2300007.jpg").read_bytes()
    (release / "images" / "2300007.jpg").unlink()
    without = load("phrasecut:test", release)
    assert without.problems() == [("2300007", release / "images" / "2300007.jpg", "missing")]
    assert without.oddities()["image-missing"] == 1
    assert without.group(1).image.sha256 is None
    assert without.n_samples == 20  # scoring needs no images
    (release / "images" / "2300007.jpg").write_bytes(kept)
    whole = load("phrasecut:test", release)
    assert whole.problems() == []
    assert whole.fingerprint != without.fingerprint


def test_truncated_and_contradicting_images_are_kept_and_told(load, release):
    path = release / "images" / "2300000.jpg"
    path.write_bytes(path.read_bytes()[:300])
    make_releases.photograph(release / "images" / "2300014.jpg", 60, 90, 1)
    data = load("phrasecut:test", release)
    problems = {image_id: problem for image_id, _, problem in data.problems()}
    assert problems["2300000"].startswith("truncated")
    assert problems["2300014"] == "size 60x90, annotation says 120x90"
    assert {"image-truncated": 1, "image-size-mismatch": 1}.items() <= data.oddities().items()
    assert data.n_samples == 20


def test_another_card_makes_its_own_but_another_mirror_does_not(load, release, tmp_path):
    base = load("phrasecut:test", release)
    card = tmp_path / "card.yaml"
    text = (
        "family: phrasecut\ntitle: t\nformat: phrasecut\nsummary: s\nsample_id: i\nlicence: l\nhomepage: null\ncitation: null\n"
        "splits: {test: {images: 6, phrases: 20}}\n"
    )
    card.write_text(text)
    own = load("phrasecut:test", release, card=card)
    assert own.path != base.path and own.fingerprint == base.fingerprint
    assert own.partial == ()


def test_the_order_of_the_source_does_not_change_the_fingerprint(load, release):
    before = load("phrasecut:test", release)
    path = release / "refer_test.json"
    tasks = json.loads(path.read_text())
    random.Random(1).shuffle(tasks)
    path.write_text(json.dumps(tasks))
    after = load("phrasecut:test", release)
    assert after.fingerprint == before.fingerprint
    assert after.sample_ids() != before.sample_ids()


def test_grouped_and_scattered_sources_give_the_same_bytes(load, release, monkeypatch):
    scattered = load("phrasecut:test", release)
    path = release / "refer_test.json"
    tasks = {task["task_id"]: task for task in json.loads(path.read_text())}
    path.write_text(json.dumps([tasks[sample_id] for sample_id in scattered.sample_ids()]))
    grouped = load("phrasecut:test", release)
    assert content(grouped) == content(scattered)
    assert grouped.fingerprint == scattered.fingerprint
    monkeypatch.setattr(prepare, "_BATCH", 3)
    assert load("phrasecut:test", release, home=release.parent / "other").sample_ids() == grouped.sample_ids()


def test_the_same_release_elsewhere_gives_the_same_bytes(load, release, tmp_path):
    shutil.copytree(release, tmp_path / "copy" / "VGPhraseCut_v0")
    first, second = load("phrasecut:test", release), load("phrasecut:test", tmp_path / "copy")
    assert content(first) == content(second)
    assert first.fingerprint == second.fingerprint


def test_a_failed_preparation_leaves_nothing(load, release, tmp_path):
    path = release / "refer_test.json"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError):
        load("phrasecut:test", release)
    assert folders(tmp_path / "home") == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["sample_table", "_image_table", "_flush"])
def test_a_full_disk_or_ctrl_c_leaves_nothing_half_visible(load, release, tmp_path, monkeypatch, error, where):
    def fail(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(prepare, where, fail)
        with pytest.raises(BenchError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
            load("phrasecut:test", release)
    if isinstance(error, OSError):
        assert "No space left on device" in str(caught.value) and "--home" in str(caught.value)
    assert folders(tmp_path / "home") == []
    assert load("phrasecut:test", release).n_samples == 20


def test_a_release_on_a_failing_disk_is_not_blamed_on_the_home(load, release, monkeypatch):
    from ldznet_bench.datasets import jsonstream

    def fail(self):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(jsonstream._Reader, "_fill", fail)
    with pytest.raises(DataError, match=r"cannot read the release under .*Input/output error"):
        load("phrasecut:test", release)


def test_whoever_waits_is_told(load, release, tmp_path):
    folder = prepare.prepared_folder(tmp_path / "home", "phrasecut:test")
    folder.mkdir(parents=True)
    told = []
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        let_go = threading.Timer(0.5, fcntl.flock, (held, fcntl.LOCK_UN))
        let_go.start()
        data = load("phrasecut:test", release, progress=lambda stage, *_: told.append(stage))
        let_go.join()
    assert told[0] == "waiting for another process" and data.n_samples == 20


def test_a_home_that_cannot_be_written_is_told(load, release, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BenchError, match="cannot write"):
        load("phrasecut:test", release, home=tmp_path / "file")


def test_a_damaged_prepared_set_is_told(load, release):
    data = load("phrasecut:test", release)
    path = data.path / "images" / "data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"is damaged.*Delete that folder"):
        load("phrasecut:test", release)


def test_the_arrow_form_opens_with_hugging_face_datasets(load, release):
    import datasets

    data = load("phrasecut:test", release)
    opened = datasets.load_from_disk(str(data.path / "samples"))
    assert opened["sample_id"][:] == data.sample_ids()
    assert datasets.load_from_disk(str(data.path / "images"))[0]["image_id"] == data.image_ids()[0]


def test_a_prepared_set_travels_to_another_process_by_path(load, release):
    data = load("phrasecut:test", release)
    pickled = pickle.dumps(data)
    assert len(pickled) < 10_000
    assert pickle.loads(pickled).sample_ids() == data.sample_ids()


def test_two_processes_at_once_share_one(release, tmp_path):
    running = [start(release, tmp_path / "home", 0.05) for _ in range(3)]
    told = [process.communicate(timeout=120)[0].strip().splitlines() for process in running]
    assert len({lines[-1] for lines in told}) == 1 and told[0][-1].startswith("DONE")
    assert sum("checking images" in lines for lines in told) == 1  # one made it, the others waited
    assert len(folders(tmp_path / "home")) == 1


def _kill_and_retry(release, home, moments):
    for moment in moments:
        process = start(release, home, 0.02)
        if moment is None:
            for line in process.stdout:
                if line.startswith("checking"):
                    break
        else:
            time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        whole = [name for name in folders(home) if not name.startswith(".")] if (home / "prepared").exists() else []
        assert all((home / "prepared" / "phrasecut:test" / name / "meta.json").is_file() for name in whole)
    done = start(release, home).communicate(timeout=120)[0].splitlines()[-1]
    assert done.startswith("DONE") and done.endswith(" 20")
    assert len(folders(home)) == 1  # what the killed ones left was cleared away
    return done.split()[2]


def test_kill_9_in_the_middle_leaves_nothing_half_visible(release, tmp_path, load):
    expected = load("phrasecut:test", release, home=tmp_path / "quiet").fingerprint
    assert _kill_and_retry(release, tmp_path / "home", [None]) == expected


@pytest.mark.slow
def test_kill_9_at_random_moments(release, tmp_path, load):
    draws = random.Random(0)
    expected = load("phrasecut:test", release, home=tmp_path / "quiet").fingerprint
    assert _kill_and_retry(release, tmp_path / "home", [draws.uniform(0.2, 4) for _ in range(20)]) == expected


@pytest.mark.slow
def test_memory_stays_flat(tmp_path):
    """Eight times the samples, the same peak: nothing of the size of the data is held."""
    script = (
        "import sys; sys.argv = ['', *sys.argv[1:]]\n"
        + SCRIPT.replace("time.sleep(pause)", "pass")
        + ("import resource; print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
    )
    peaks = []
    for phrases in (600, 4800):
        root = tmp_path / str(phrases)
        make_releases.phrasecut(root, images=60, phrases=phrases, vertices=(150, 200), photographs=False)
        done = subprocess.run(
            [sys.executable, "-c", script, str(root), str(tmp_path / f"home{phrases}"), "0"], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout.split("PEAK")[1]))
    assert Path(tmp_path / "4800" / "VGPhraseCut_v0" / "refer_test.json").stat().st_size > 30e6
    assert peaks[1] - peaks[0] < 60_000  # KB; parsed at once, 30 MB of this JSON are 400 MB of Python
