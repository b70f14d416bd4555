from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib import request

import numpy as np
import pytest
from picture_dataset import HOSTILE, PictureDataset, write_pictured_run
from synthetic_runs import write_run

from ldznet_bench.errors import BenchError
from ldznet_bench.metrics.scores import sample_iou
from ldznet_bench.protocols import get_protocol
from ldznet_bench.reports.grid import Options
from ldznet_bench.reports.html import report
from ldznet_bench.reports.runs import find_runs
from ldznet_bench.reports.table import make_table
from ldznet_bench.statistics.samples import read_samples

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="chromium and chromedriver are not installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("html")
    data = PictureDataset(folder)
    for name, shift in (("good<b>", 1), ("bad&co", 20), ("<script>alert(1)</script>", 50)):
        write_pictured_run(folder / "runs", data, name.replace("/", "|"), shift)
    runs = find_runs(folder / "runs")[0]
    return report(make_table(runs, Options(metrics=("all",), intervals=True, resamples=100)), runs, {data.name: data}, count=5)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page)
    return parser.found


def test_only_our_own_script_and_style_are_there(made: str) -> None:
    names = [name for name, attributes in tags(made) if attributes.get("type") != "application/json"]
    assert (names.count("script"), names.count("style")) == (1, 1)
    assert not any(key.startswith("on") or key == "style" for _, attributes in tags(made) for key in attributes)


def test_nothing_is_loaded_from_anywhere(made: str) -> None:
    links = [value for _, attributes in tags(made) for key, value in attributes.items() if key in ("src", "href", "action", "srcset")]
    assert links and all(str(value).startswith(("data:", "#")) for value in links)
    assert "default-src 'none'" in made


def test_every_phrase_is_text(made: str) -> None:
    assert not any(phrase in made for phrase in HOSTILE if "<" in phrase)
    assert "&lt;script&gt;document.title=" in made


def test_a_dataset_of_other_data_is_refused(tmp_path: Path) -> None:
    data = PictureDataset(tmp_path)
    write_pictured_run(tmp_path / "runs", data, "a", 1)
    runs = find_runs(tmp_path / "runs")[0]
    data.fingerprint = "0" * 64
    with pytest.raises(BenchError, match="fingerprints differ"):
        report(make_table(runs), runs, {data.name: data})


def test_without_a_dataset_there_are_words_and_numbers(tmp_path: Path) -> None:
    write_run(tmp_path, "a", n_images=20)
    runs = find_runs(tmp_path)[0]
    page = report(make_table(runs), runs, {})
    assert "mean IoU" in page and "<img" not in page and page.count('role="img"') == 7


def section(page: str, index: int = 0) -> dict[str, Any]:
    found = re.search(rf'<script type="application/json" id="data{index}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_every_sample_is_on_the_page_and_pictures_of_the_shown_ones_alone(tmp_path: Path) -> None:
    path = write_run(tmp_path, "a", n_images=30)
    write_run(tmp_path, "b", n_images=30, model_seed=1)
    runs = find_runs(tmp_path)[0]
    data = section(report(make_table(runs), runs, {}))
    samples = read_samples(path, columns=("phrase", "tags"))
    assert data["id"] == samples.sample_id.tolist() and data["phrase"] == samples.table.column("phrase").to_pylist()
    expected = sample_iou(samples.counts.intersection, samples.counts.union, get_protocol("clipseg@1"))
    assert np.abs(np.array(data["iou"][0]) / 10_000 - expected).max() <= 0.5e-4
    assert [[data["tagNames"][tag] for tag in tags] for tags in data["tags"]] == [tags[1:] for tags in samples.table.column("tags").to_pylist()]
    assert data["pictures"] == {}


def test_pictures_are_stored_once_and_those_asked_for_are_there(tmp_path: Path) -> None:
    data = PictureDataset(tmp_path, n=12)
    for name, shift in (("a", 5), ("b", 30)):
        write_pictured_run(tmp_path / "runs", data, name, shift)
    runs = find_runs(tmp_path / "runs")[0]
    wanted = "105__5"
    for asked, there in (((), False), ((wanted,), True)):
        page = report(make_table(runs), runs, {data.name: data}, count=1, asked=asked)
        found = section(page)
        assert (str(found["id"].index(wanted)) in found["pictures"]) is there
        assert page.count("data:image/jpeg") == page.count('class="card"')
    with pytest.raises(BenchError, match="no run has the sample 'nobody'"):
        report(make_table(runs), runs, {data.name: data}, asked=("nobody",))


def test_a_bar_per_tag_says_the_slices_number(tmp_path: Path) -> None:
    write_run(tmp_path, "a", n_images=30)
    runs = find_runs(tmp_path)[0]
    page = report(make_table(runs), runs, {})
    table = make_table(runs, Options(metrics=("miou",), by="tags"))
    bars = dict(re.findall(r'<th scope="row">(p_\w+)</th>.*?<td data-value="(0\.\d+)"><svg class="bar"', page))
    expected = {column.slice: value.score for column, value in table.rows[0].values.items() if column.slice != "all"}
    assert {name: float(value) for name, value in bars.items()} == pytest.approx(expected)


def test_the_oracle_does_not_say_how_hard_a_sample_is(tmp_path: Path) -> None:
    for name, skill in (("oracle", 9.0), ("a", 0.0)):
        write_run(tmp_path, name, n_images=10, skill=skill)
    runs = find_runs(tmp_path)[0]
    assert section(report(make_table(runs), runs, {}))["judges"] == [0]


def test_the_same_runs_make_the_same_page(tmp_path: Path) -> None:
    write_run(tmp_path, "a", n_images=10)
    runs = find_runs(tmp_path)[0]
    assert report(make_table(runs), runs, {}) == report(make_table(runs), runs, {})


class Browser:
    """As much of the WebDriver protocol as is needed here."""

    def __init__(self, port: int) -> None:
        self._root = f"http://127.0.0.1:{port}"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options = {"goog:chromeOptions": {"args": arguments, "binary": BROWSER}, "goog:loggingPrefs": {"browser": "ALL"}}
        self._session = "/session/" + self._call("/session", {"capabilities": {"alwaysMatch": options}})["sessionId"]

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with request.build_opener(request.ProxyHandler({})).open(request.Request(self._root + path, data), timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, path: Path) -> None:
        self._call(f"{self._session}/url", {"url": path.as_uri()})

    def run(self, script: str) -> Any:
        return self._call(f"{self._session}/execute/sync", {"script": script, "args": []})

    def keys(self, text: str) -> None:
        actions = [{"type": kind, "value": letter} for letter in text for kind in ("keyDown", "keyUp")]
        self._call(f"{self._session}/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    def log(self) -> list[dict[str, Any]]:
        return self._call(f"{self._session}/se/log", {"type": "browser"})

    def close(self) -> None:
        opener = request.build_opener(request.ProxyHandler({}))
        opener.open(request.Request(self._root + self._session, method="DELETE"), timeout=60).close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    process = subprocess.Popen([str(DRIVER), "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = next(int(found[1]) for line in process.stdout if (found := re.search(r"successfully on port (\d+)", line)))
        driver = Browser(port)
        yield driver
        driver.close()
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def opened(browser: Browser, made: str, tmp_path: Path) -> Browser:
    file = tmp_path / "report.html"
    file.write_text(made)
    browser.open(file)
    return browser


def labels(browser: Browser) -> list[str]:
    return browser.run("return [...document.querySelectorAll('#board tbody tr')].filter(r => !r.hidden).map(r => r.cells[0].textContent)")


@needs_browser
def test_headers_sort(opened: Browser) -> None:
    opened.run("document.querySelectorAll('#board thead button')[1].click()")
    assert labels(opened) == ["good<b>", "bad&co", "<script>alert(1)<|script>"]
    opened.run("document.querySelectorAll('#board thead button')[1].click()")
    assert labels(opened)[0] == "<script>alert(1)<|script>"
    assert opened.run("return document.querySelectorAll('#board thead th')[1].getAttribute('aria-sort')") == "ascending"


@needs_browser
def test_typing_filters(opened: Browser) -> None:
    opened.run("document.getElementById('filter').focus()")
    opened.keys("bad")
    assert labels(opened) == ["bad&co"]
    assert opened.run("return document.getElementById('matches').textContent") == "1 of 3 rows"


@needs_browser
def test_a_sample_opens_by_keyboard_and_shows_its_pictures(opened: Browser) -> None:
    opened.run("document.querySelector('.card').focus()")
    opened.keys("\ue007")  # Enter
    assert opened.run("return document.querySelectorAll('dialog[open]').length") == 1
    sizes = opened.run("return Promise.all([...document.querySelectorAll('dialog[open] img')].map(i => i.decode().then(() => i.naturalWidth)))")
    assert len(sizes) == 1 + 2 + 3 * 2 and min(sizes) > 0  # the image, the truth on it, three masks on it
    first = opened.run("return document.querySelector('dialog[open] .facts').textContent")
    opened.keys("\ue014")  # right arrow
    assert opened.run("return document.querySelector('dialog[open] .facts').textContent") != first
    opened.keys("\ue00c")  # Escape
    assert opened.run("return document.querySelectorAll('dialog[open]').length") == 0
    assert opened.run("return document.activeElement.className") == "card"


@needs_browser
def test_any_sample_is_found_and_opened(opened: Browser) -> None:
    assert opened.run("return document.querySelectorAll('.explorer tbody tr').length") == 0
    opened.run("document.querySelector('.explorer summary').focus()")
    opened.keys("\ue007")
    for _ in range(50):
        if opened.run("return document.querySelectorAll('.explorer tbody tr').length"):
            break
    assert opened.run("return document.querySelector('.explorer output').textContent") == "8 of 8 samples"
    opened.run("document.querySelector('.explorer input').focus()")
    opened.keys("<script> 105__5")
    found = opened.run("return [...document.querySelectorAll('.explorer tbody tr')].map(r => r.cells[1].textContent)")
    assert found == ["105__5"]
    opened.run("document.querySelector('.explorer tbody button').focus()")
    opened.keys("\ue007")
    assert opened.run("return document.querySelector('dialog[open] h4').textContent") == HOSTILE[0]
    assert "sample 105__5" in opened.run("return document.querySelector('dialog[open] .facts').textContent")
    assert opened.run("return document.querySelectorAll('dialog[open] tbody tr').length") == 3


@needs_browser
def test_samples_come_in_the_order_that_was_chosen(opened: Browser) -> None:
    script = """
        document.querySelector('.explorer').open = true;
        const select = document.querySelector('.explorer select'), column = COLUMN;
        select.value = 'VALUE';
        select.dispatchEvent(new Event('change'));
        return [...document.querySelectorAll('.explorer tbody tr')].map(row => row.cells[column].textContent);"""
    means = [float(text) for text in opened.run(script.replace("VALUE", "low").replace("COLUMN", "2"))]
    assert len(means) == 8 and means == sorted(means)
    means = [float(text) for text in opened.run(script.replace("VALUE", "high").replace("COLUMN", "2"))]
    assert means == sorted(means, reverse=True)
    ids = opened.run(script.replace("VALUE", "id").replace("COLUMN", "1"))
    assert ids == sorted(ids)
    own = [float(text) for text in opened.run(script.replace("VALUE", "1").replace("COLUMN", "4"))]
    assert own == sorted(own)


@needs_browser
def test_a_hostile_phrase_is_shown_and_the_console_is_silent(opened: Browser) -> None:
    phrases = opened.run("return [...document.querySelectorAll('.phrase')].map(p => p.textContent)")
    assert set(phrases) >= {"<script>document.title='hacked'</script>"}
    assert opened.run("return document.title") == "ldznet_bench report"
    assert [entry for entry in opened.log() if entry["level"] in ("SEVERE", "WARNING")] == []


@pytest.mark.slow
@needs_browser
def test_opens_in_two_seconds_with_the_whole_of_phrasecut(browser: Browser, tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / "runs", f"m{seed}", n_images=2545, per_image=6, model_seed=seed)
    runs = find_runs(tmp_path / "runs")[0]
    file = tmp_path / "report.html"
    file.write_text(report(make_table(runs), runs, {}))
    start = time.perf_counter()
    browser.open(file)
    assert time.perf_counter() - start < 2
    start = time.perf_counter()
    shown = browser.run(
        "document.querySelector('.explorer').open = true; document.querySelector('.explorer select').dispatchEvent(new Event('change'));"
        "document.querySelector('.explorer tbody button').click(); return document.querySelector('dialog[open] .facts').textContent"
    )
    assert "sample" in shown and time.perf_counter() - start < 2
