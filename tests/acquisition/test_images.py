"""Images by the thousand: one by one, from archives, and from whichever still works."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest
from acquiring import IMPATIENT, picture, spec_of
from mirror import Mirror, Served, always, cut_after, page, status

from ldznet_bench.acquisition.fetch import Fetcher
from ldznet_bench.acquisition.images import fetch_images, image_jobs
from ldznet_bench.acquisition.network import Policy
from ldznet_bench.acquisition.specs import ImagesSpec, Member
from ldznet_bench.errors import DataError

Make = Callable[..., Fetcher]


def packed(numbers: range, folder: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in numbers:
            file.writestr(f"{folder}/{number}.jpg", picture(number))
    return buffer.getvalue()


def fetch(fetcher: Fetcher, count: int) -> list:
    images = fetcher.files.images
    rows = [{"image_id": number, "url": f"{BASE}/url/{number}.jpg"} for number in range(count)]
    return fetch_images(fetcher, images, image_jobs(fetcher, images, rows))


BASE = ""


@pytest.fixture(autouse=True)
def _base(server: Mirror) -> None:
    globals()["BASE"] = server.base


def here(fetcher: Fetcher) -> set[int]:
    return {int(path.stem) for path in (fetcher.folder / "images").glob("*.jpg")}


def test_every_image_comes_from_its_own_address(server: Mirror, fetcher_of: Make) -> None:
    for number in range(30):
        server.add(f"/url/{number}.jpg", picture(number))
    fetcher = fetcher_of(images=ImagesSpec("images/{image_id}.jpg", "none", ("{url}",)))
    assert fetch(fetcher, 30) == []
    assert here(fetcher) == set(range(30))
    assert (fetcher.folder / "images" / "7.jpg").read_bytes() == picture(7)


def test_images_that_are_here_are_not_asked_for(server: Mirror, fetcher_of: Make) -> None:
    for number in range(5):
        server.add(f"/url/{number}.jpg", picture(number))
    spec = ImagesSpec("images/{image_id}.jpg", "none", ("{url}",))
    fetch(fetcher_of(images=spec), 5)
    fetcher = fetcher_of(images=spec)
    (fetcher.folder / "images" / "3.jpg").unlink()
    fetch(fetcher, 5)
    assert server.count()["/url/3.jpg"] == 2
    assert server.count()["/url/4.jpg"] == 1


def test_the_second_address_is_tried(server: Mirror, fetcher_of: Make) -> None:
    for number in range(5):
        server.add(f"/url/{number}.jpg", b"", *always(status(403)))
        server.add(f"/other/{number}.jpg", picture(number))
    fetcher = fetcher_of(images=ImagesSpec("images/{image_id}.jpg", "none", ("{url}", BASE + "/other/{image_id}.jpg")))
    assert fetch(fetcher, 5) == []


def test_truncated_and_wrong_images_are_refused(server: Mirror, fetcher_of: Make) -> None:
    server.add("/url/0.jpg", picture(0)[:300], etag=None)
    server.add("/url/1.jpg", b"", *always(page(b"<html><title>403 Forbidden</title></html>")))
    server.add("/url/2.jpg", picture(2), cut_after(100))
    fetcher = fetcher_of(images=ImagesSpec("images/{image_id}.jpg", "none", ("{url}",)))
    refusals = fetch(fetcher, 3)
    assert [refusal.job.spec.path for refusal in refusals] == ["images/0.jpg", "images/1.jpg"]
    assert "does not decode" in refusals[0].reasons[0][1]
    assert "403 Forbidden" in refusals[1].reasons[0][1]
    assert here(fetcher) == {2}


def test_what_has_no_address_comes_from_two_archives(server: Mirror, fetcher_of: Make) -> None:
    archives = (
        spec_of("a.zip", server.add("/a.zip", packed(range(4), "VG_100K")), role="archive"),
        spec_of("b.zip", server.add("/b.zip", packed(range(4, 10), "VG_100K_2")), role="archive"),
    )
    members = (Member("a.zip", "{image_id}.jpg"), Member("b.zip", "{image_id}.jpg"))
    fetcher = fetcher_of(*archives, images=ImagesSpec("images/{image_id}.jpg", "none", ("{url}",), members))
    server.add("/url/2.jpg", picture(2))
    assert fetch(fetcher, 10) == []
    assert here(fetcher) == set(range(10))


def test_above_a_number_the_archive_comes_first(server: Mirror, fetcher_of: Make) -> None:
    archive = spec_of("a.zip", server.add("/a.zip", packed(range(10), "train2014")), role="archive")
    member = Member("a.zip", "train2014/{image_id}.jpg")
    fetcher = fetcher_of(archive, images=ImagesSpec("images/{image_id}.jpg", "none", ("{url}",), (member,), archives_above=5))
    assert fetch(fetcher, 10) == []
    assert set(server.count()) == {"/a.zip"}


def test_a_host_that_refuses_every_image_is_not_asked_for_all(server: Mirror, fetcher_of: Make) -> None:
    server.fallback = lambda _path: Served(b"", [status(403)])
    archive = spec_of("a.zip", server.add("/a.zip", packed(range(400), "x")), role="archive")
    fetcher = fetcher_of(archive, images=ImagesSpec("images/{image_id}.jpg", "none", ("{url}",), (Member("a.zip", "x/{image_id}.jpg"),)))
    assert fetch(fetcher, 400) == []
    assert len(server.asked) < 100


def test_a_host_that_does_not_answer_is_left_alone(fetcher_of: Make) -> None:
    policy = Policy(connect_timeout=1, read_timeout=1, retries=1, backoff=0.01, host_failures=4)
    fetcher = fetcher_of(images=ImagesSpec("images/{image_id}.jpg", "none", ("http://127.0.0.1:9/{image_id}.jpg",)), policy=policy)
    refusals = fetch(fetcher, 40)
    told = {reason for refusal in refusals for _, reason in refusal.reasons}
    assert all("connection refused" in reason for reason in told)
    assert any(reason.startswith("not asked after ") for reason in told)


def test_images_that_nobody_has_are_told_with_every_reason(server: Mirror, fetcher_of: Make) -> None:
    archive = spec_of("a.zip", server.add("/a.zip", packed(range(1), "x")), role="archive")
    fetcher = fetcher_of(archive, images=ImagesSpec("images/{image_id}.jpg", "none", ("{url}",), (Member("a.zip", "x/{image_id}.jpg"),)))
    (refusal,) = fetch(fetcher, 2)
    assert [mirror.label for mirror, _ in refusal.reasons] == [BASE.removeprefix("http://"), "archive"]
    assert "404" in refusal.reasons[0][1]
    assert "lacks" in refusal.reasons[1][1]


def test_an_archive_that_does_not_fit_is_not_begun(server: Mirror, fetcher_of: Make) -> None:
    archive = spec_of("a.zip", server.add("/a.zip", packed(range(2), "x")), role="archive", about="900000.0 GB")
    fetcher = fetcher_of(archive, images=ImagesSpec("images/{image_id}.jpg", "none", ("{url}",), (Member("a.zip", "x/{image_id}.jpg"),)))
    refusals = fetch(fetcher, 2)
    assert "the disk has room for" in refusals[0].reasons[-1][1]
    assert server.count()["/a.zip"] == 0


def test_a_short_outage_does_not_end_in_an_archive(server: Mirror, fetcher_of: Make) -> None:
    for number in range(20):
        server.add(f"/url/{number}.jpg", picture(number), *[status(404)] * (number >= 15))
    archive = spec_of("a.zip", server.add("/a.zip", packed(range(20), "x")), role="archive")
    fetcher = fetcher_of(archive, images=ImagesSpec("images/{image_id}.jpg", "none", ("{url}",), (Member("a.zip", "x/{image_id}.jpg"),)))
    assert fetch(fetcher, 20) == []
    assert server.count()["/a.zip"] == 0


@pytest.mark.parametrize("row", [{"image_id": "../../x", "url": "http://h/"}, {"image_id": "/etc/x", "url": "http://h/"}, {"url": "http://h/"}])
def test_a_listing_that_leads_out_of_its_folder(fetcher_of: Make, row: dict) -> None:
    fetcher = fetcher_of(images=ImagesSpec("{image_id}.jpg", "none", ("{url}",)))
    with pytest.raises(DataError, match="cannot be used"):
        image_jobs(fetcher, fetcher.files.images, [row])


def test_images_share_a_host_fairly(server: Mirror, fetcher_of: Make) -> None:
    for number in range(40):
        server.add(f"/url/{number}.jpg", picture(number), *[status(429, Retry_After="1")] * (number == 3))
    fetcher = fetcher_of(images=ImagesSpec("images/{image_id}.jpg", "none", ("{url}",)), policy=IMPATIENT)
    assert fetch(fetcher, 40) == []
    assert server.count()["/url/3.jpg"] == 2
