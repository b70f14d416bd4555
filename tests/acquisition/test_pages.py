"""Pages that come instead of a file: what they say, where they lead on to, and that a hostile one leads nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mirror import CAPTIVE_PAGE, LOGIN_PAGE, QUOTA_PAGE

from ldznet_bench.acquisition.pages import confirm_address, explain_page, folder_entries

DRIVE = "https://drive.google.com/uc?export=download&id=abc"
FORM = b"""<html><head><title>Google Drive - Virus scan warning</title></head><body><p>Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">
<input type="submit" value="Download anyway"/><input type="hidden" name="id" value="abc"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="1-2-3"></form></body></html>"""


def test_the_form_of_the_virus_scan_page() -> None:
    assert confirm_address(FORM, DRIVE) == "https://drive.usercontent.google.com/download?id=abc&export=download&confirm=t&uuid=1-2-3"


def test_the_link_of_older_pages() -> None:
    page = b'<a id="uc-download-link" href="/uc?export=download&amp;confirm=Xy9_&amp;id=abc">Download anyway</a>'
    assert confirm_address(page, DRIVE) == "https://drive.google.com/uc?export=download&confirm=Xy9_&id=abc"


@pytest.mark.parametrize("action", [b"https://evil.example/download", b"javascript:alert(1)", b"file:///etc/passwd", b"//evil.example/x"])
def test_a_form_that_leads_elsewhere_is_not_followed(action: bytes) -> None:
    assert confirm_address(FORM.replace(b"https://drive.usercontent.google.com/download", action), DRIVE) is None


def test_a_page_without_a_form_leads_nowhere() -> None:
    assert confirm_address(QUOTA_PAGE, DRIVE) is None


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (QUOTA_PAGE, "quota"),
        (FORM, "virus-scan"),
        (LOGIN_PAGE, "login"),
        (CAPTIVE_PAGE, "captive portal"),
        (b"<html><title>Just a moment...</title></html>", "robot check"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "denies access"),
        (b"<html><body>ERROR: The requested URL could not be retrieved (squid/5.7)</body></html>", "proxy or filter"),
        (b"<html><title>Wayback Machine</title><p>Hrm. The Wayback Machine has not archived that URL.</p></html>", "no capture"),
        (b"<html><title>Index of /</title></html>", "'Index of /'"),
    ],
)
def test_what_pages_say(page: bytes, said: str) -> None:
    assert said in explain_page(page, DRIVE, DRIVE, {})


def entry(file_id: str, name: str, folder: bool = False) -> str:
    where = f"drive/folders/{file_id}" if folder else f"file/d/{file_id}/view?usp=drive_web"
    return (
        f'<div class="flip-entry" id="entry-{file_id}" tabindex="0" role="link"><div class="flip-entry-info">'
        f'<a href="https://drive.google.com/{where}" target="_blank"><div class="flip-entry-visual"><img src="x.png"/></div>'
        f'<div class="flip-entry-title">{name}</div></a></div><div class="flip-entry-last-modified"><div>1/2/23</div></div></div>'
    )


def test_a_folder_of_any_length() -> None:
    page = "".join(entry(f"file{n:08d}", f"{n}.png") for n in range(214)) + entry("folder00001", "masks", folder=True)
    found = folder_entries(f"<html><body>{page}</body></html>".encode())
    assert len(found) == 215
    assert found[0] == ("file00000000", "0.png", False)
    assert found[-1] == ("folder00001", "masks", True)


def test_names_with_entities_and_markup() -> None:
    page = entry("file00000001", "a &amp; b &lt;x&gt; &#39;c&#39;.png") + entry("file00000002", "<b>bold</b>.png")
    assert [name for _, name, _ in folder_entries(page.encode())] == ["a & b <x> 'c'.png", "bold.png"]


@pytest.mark.parametrize(
    "page",
    [
        "<div class='flip-entry-title'>no link</div>",
        "<a href='https://evil.example/x'><div class='flip-entry-title'>a</div></a>",
        "<a href='https://drive.google.com/file/d/../../x/view'><div class='flip-entry-title'>a</div></a>",
        "<a href='https://drive.google.com/file/d/short/view'><div class='flip-entry-title'>a</div></a>",
    ],
)
def test_entries_that_are_none(page: str) -> None:
    assert folder_entries(page.encode()) == []


@given(st.text(alphabet="<>/abd=\"' &;-flipentryhrfolders0123456789", max_size=200))
def test_any_markup_can_be_read(text: str) -> None:
    page = f"<a href='https://drive.google.com/file/d/aaaaaaaaaaaa/view'>{text}<form id=download-form>".encode()
    folder_entries(page)
    confirm_address(page, DRIVE)
    explain_page(page, DRIVE, DRIVE, {})
