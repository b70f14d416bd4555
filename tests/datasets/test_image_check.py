import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldznet_bench.datasets.image_check import check_image, check_images
from ldznet_bench.datasets.sample import ImageFile


def picture(kind, width=40, height=30, **options):
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind, **options)
    return buffer.getvalue()


def check(tmp_path, content, width=40, height=30):
    path = tmp_path / "x"
    path.write_bytes(content)
    return check_image(ImageFile("x", path, height, width))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_whole_images_have_no_problem(tmp_path, kind):
    content = picture(kind)
    found = check(tmp_path, content)
    assert found.problem == ""
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert found.stat[0] == len(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_truncated_images_are_told(tmp_path, kind, share):
    content = picture(kind)
    assert check(tmp_path, content[: int(len(content) * share)]).problem.startswith("truncated")


def test_what_follows_the_end_of_an_image_does_no_harm(tmp_path):
    assert check(tmp_path, picture("JPEG") + b"\0" * 500).problem == ""
    assert check(tmp_path, picture("JPEG") + b"\0" * 50_000).problem == ""


def test_only_the_end_mark_missing_is_what_decoding_says(tmp_path):
    content = picture("JPEG")[:-2]
    with Image.open(io.BytesIO(content)) as image:
        try:
            image.load()
            decodes = True
        except OSError:
            decodes = False
    assert (check(tmp_path, content).problem == "") == decodes


def test_other_problems(tmp_path):
    assert check(tmp_path, b"").problem == "truncated: not an image file"
    assert check(tmp_path, b"<html>Too many users</html>").problem == "unreadable: not an image file"
    assert check(tmp_path, picture("PNG"), 40, 31).problem == "size 40x30, annotation says 40x31"
    missing = check_image(ImageFile("x", tmp_path / "none.jpg", 1, 1))
    assert (missing.stat, missing.sha256, missing.problem) == (None, None, "missing")
    folder = check_image(ImageFile("x", tmp_path, 1, 1))
    assert folder.problem.startswith("unreadable") and folder.sha256 is None


def test_many_come_in_order(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(150)]
    for number, path in enumerate(paths):
        Image.new("L", (number % 7 + 1, 2)).save(path)
    images = [ImageFile(str(n), path, 2, n % 7 + 1) for n, path in enumerate(paths)]
    images.insert(70, ImageFile("gone", Path("/nowhere/x.png"), 1, 1))
    found = list(check_images(images))
    assert [each.problem for each in found] == ["missing" if n == 70 else "" for n in range(151)]
    assert found[3].sha256 == hashlib.sha256(paths[3].read_bytes()).hexdigest()
