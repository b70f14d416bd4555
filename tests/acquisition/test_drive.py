"""Google Drive: confirmation pages, quotas, folders of more than 50 files, hostile folder pages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from acquiring import DATA, IMPATIENT, SHA, document
from hosts import Drive
from mirror import QUOTA_PAGE, Mirror, always, cut_after, page

from ldznet_bench.acquisition.drive_folder import MAX_DEPTH, list_folder, recall_listing, remember_listing
from ldznet_bench.acquisition.failures import MirrorFailure
from ldznet_bench.acquisition.fetch import Fetcher, Refusal
from ldznet_bench.acquisition.ledger import Arrival
from ldznet_bench.acquisition.network import Network
from ldznet_bench.acquisition.sources import DRIVE_VARIABLE
from ldznet_bench.acquisition.specs import FileSpec
from ldznet_bench.acquisition.specs import Mirror as MirrorSpec

Make = Callable[..., Fetcher]
SMALL = document(50_000)


@pytest.fixture
def drive(server: Mirror, monkeypatch: pytest.MonkeyPatch) -> Drive:
    monkeypatch.setenv(DRIVE_VARIABLE, server.base)
    return Drive(server)


def on_drive(path: str, *file_ids: str, **options: object) -> FileSpec:
    return FileSpec(path, tuple(MirrorSpec(drive=file_id) for file_id in file_ids), **options)  # type: ignore[arg-type]


def ident(number: int) -> str:
    return f"file{number:010d}"


def test_a_small_file_comes_at_once(drive: Drive, fetcher_of: Make) -> None:
    spec = on_drive("a.json", drive.add(ident(1), SMALL))
    fetcher = fetcher_of(spec)
    assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)
    assert len(drive.mirror.asked) == 1


def test_a_large_file_is_confirmed_first(drive: Drive, fetcher_of: Make) -> None:
    spec = on_drive("a.json", drive.add(ident(1), DATA), sha256=SHA)
    fetcher = fetcher_of(spec)
    assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)
    assert (fetcher.folder / "a.json").read_bytes() == DATA


def test_a_large_file_that_is_cut_goes_on_from_the_confirmed_address(drive: Drive, fetcher_of: Make) -> None:
    spec = on_drive("a.json", drive.add(ident(1), DATA), sha256=SHA)
    fetcher = fetcher_of(spec)
    original = drive.mirror.served["/download"]
    cuts = [cut_after(100_000), cut_after(80_000)]

    def answer(path, headers):
        served = original.dynamic(path, headers)
        return served if not cuts else type(served)(served.content, [cuts.pop(0)])

    drive.mirror.served["/download"] = type(original)(b"", dynamic=answer)
    assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)
    assert (fetcher.folder / "a.json").read_bytes() == DATA
    assert drive.mirror.count()[f"/uc?export=download&id={ident(1)}"] == 1


def test_the_quota_page_gives_the_next_mirror_its_turn(drive: Drive, fetcher_of: Make) -> None:
    drive.add(ident(1), SMALL, *always(page(QUOTA_PAGE)))
    spec = on_drive("a.json", ident(1), drive.add(ident(2), SMALL))
    fetcher = fetcher_of(spec)
    assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)
    assert "quota" in fetcher.watcher.texts[0]


def test_a_file_that_is_gone(drive: Drive, fetcher_of: Make) -> None:
    spec = on_drive("a.json", ident(9))
    result = (fetcher := fetcher_of(spec)).get(fetcher.job(spec))
    assert isinstance(result, Refusal)
    assert "404" in result.reasons[0][1]


def test_a_folder_of_214_files_with_folders_in_it(drive: Drive) -> None:
    drive.add_folder("folder0000top", [*((ident(n), f"{n}.png", False) for n in range(200)), ("folder0000sub", "masks", True)])
    drive.add_folder("folder0000sub", [(ident(1000 + n), f"{n}.png", False) for n in range(14)])
    found = list_folder(Network(IMPATIENT), "folder0000top")
    assert len(found) == 214
    assert {file.path for file in found if file.file_id == ident(1003)} == {"masks/3.png"}


def test_files_of_one_name_are_kept_apart(drive: Drive) -> None:
    drive.add_folder("folder0000top", [(ident(2), "a.png", False), (ident(1), "a.png", False)])
    found = list_folder(Network(IMPATIENT), "folder0000top")
    assert [(file.path, file.file_id) for file in found] == [("a.png", ident(1)), ("a (2).png", ident(2))]


@pytest.mark.parametrize("name", ["..", ".", "a\\b", "C:x", "a\nb", "x" * 300, ""])
def test_names_that_cannot_be_files(drive: Drive, name: str) -> None:
    drive.add_folder("folder0000top", [(ident(1), name, False)])
    with pytest.raises(MirrorFailure, match="cannot be a file name"):
        list_folder(Network(IMPATIENT), "folder0000top")


def test_a_slash_in_a_name_is_no_folder(drive: Drive) -> None:
    drive.add_folder("folder0000top", [(ident(1), "../a/b.png", False)])
    assert [file.path for file in list_folder(Network(IMPATIENT), "folder0000top")] == [".._a_b.png"]


def test_folders_without_end(drive: Drive) -> None:
    for depth in range(MAX_DEPTH + 3):
        drive.add_folder(f"folder{depth:08d}", [(f"folder{depth + 1:08d}", "deeper", True)])
    with pytest.raises(MirrorFailure, match="nested deeper"):
        list_folder(Network(IMPATIENT), "folder00000000")


def test_a_folder_in_itself_ends(drive: Drive) -> None:
    drive.add_folder("folder0000top", [("folder0000top", "self", True), (ident(1), "a.png", False)])
    assert len(list_folder(Network(IMPATIENT), "folder0000top")) == 1


def test_a_folder_that_is_not_shared(drive: Drive) -> None:
    with pytest.raises(MirrorFailure, match="not shared"):
        list_folder(Network(IMPATIENT), "folder0000top")


def test_a_listing_is_remembered(drive: Drive, tmp_path) -> None:
    drive.add_folder("folder0000top", [(ident(1), "a.png", False)])
    found = list_folder(Network(IMPATIENT), "folder0000top")
    remember_listing(tmp_path / "l.json", found)
    assert recall_listing(tmp_path / "l.json") == found


@pytest.mark.parametrize("content", ["", "[]", "{}", "[1]", '[{"path": "../x", "file_id": "file0000000001"}]', "[" * 100_000])
def test_a_listing_that_was_tampered_with_is_none(tmp_path, content: str) -> None:
    (tmp_path / "l.json").write_text(content)
    assert recall_listing(tmp_path / "l.json") == []
