"""Web pages that come instead of a file: whose they are, and what they say, judged by their content.

Hosts answer a refused download with status 200 and a page. Its content type may say anything, its size may even be right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

PAGE_BYTES = 262_144
"""As much of a page is read; Drive's are about 3 kB, the largest login page met has 90 kB."""

_SIGNS: tuple[tuple[str, str], ...] = (
    (
        r"too many users have viewed or downloaded|quota exceeded|download quota|quota for this file",
        "Drive's quota for this file is used up for now; it is given back within 24 hours",
    ),
    (r"can.?t scan this file for viruses|virus scan warning", "Drive shows its virus-scan page and no way past it"),
    (r"accounts\.google\.com|servicelogin", "Google asks for a login: the file is not shared with everybody"),
    (r"you need access|request access", "the owner has not shared the file with everybody"),
    (
        r"sorry, the file you have requested does not exist|file is in the owner.?s trash",
        "Drive says that the file does not exist any more",
    ),
    (r"unusual traffic|our systems have detected", "Google suspects a robot on this network"),
    (
        r"captive|hotspot|wifi login|wi-fi login|network login|walled garden|msftconnecttest|guest network",
        "a captive portal answered: open any page in a browser and log in to this network first",
    ),
    (
        r"wayback machine.{0,400}(has not archived|hrm\.|not been archived)|this url has been excluded",
        "the Wayback Machine has no capture of it",
    ),
    (
        r"checking your browser|just a moment\.\.\.|cf-browser-verification|attention required.{0,40}cloudflare",
        "a robot check stands before the file",
    ),
    (r"squid|access denied by (your|the) (administrator|proxy)|web ?filter|blocked by", "a proxy or filter on the way refused"),
    (r"<code>accessdenied</code>", "the object store denies access"),
    (r"<code>nosuchkey</code>", "the object store has no such file"),
    (r"type=.?password|sign in|log ?in", "a login page answered"),
)


@dataclass(slots=True)
class _Form:
    action: str
    form_id: str
    fields: dict[str, str] = field(default_factory=dict)


class _Parser(HTMLParser):
    """Collects title, forms with hidden fields, and links; HTMLParser never raises on broken markup."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.forms: list[_Form] = []
        self.links: list[str] = []
        self._in_title = False
        self._in_form = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "title":
            self._in_title = True
        elif tag == "form":
            self._in_form = True
            self.forms.append(_Form(values.get("action", ""), values.get("id", "")))
        elif tag == "input" and self._in_form and values.get("name"):
            self.forms[-1].fields[values["name"]] = values.get("value", "")
        elif tag == "a" and values.get("href"):
            self.links.append(values["href"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag == "form":
            self._in_form = False

    def handle_data(self, data: str) -> None:
        if self._in_title and len(self.title) < 200:
            self.title += data


def explain_page(page: bytes, asked: str, answered: str, headers: Mapping[str, str]) -> str:
    """Why a page came instead of a file, in one line.

    Args:
        page: its first `PAGE_BYTES`.
        asked: the address that was asked.
        answered: the address that answered, after redirects.
        headers: of the answer.
    """
    text = page.decode("utf-8", "replace")
    for pattern, reason in _SIGNS:
        if re.search(pattern, text, re.IGNORECASE | re.DOTALL) or re.search(pattern, answered, re.IGNORECASE):
            return f"a web page instead of the file: {reason}"
    asked_host, host = urlsplit(asked).hostname, urlsplit(answered).hostname
    title = page_title(text)
    said = f" titled {title!r}" if title else ""
    if asked_host != host and re.search(r"http-equiv=.?refresh|location\.(href|replace)", text, re.IGNORECASE):
        return f"a web page{said} from {host} instead of the file (a captive portal? open any page in a browser first)"
    kind = headers.get("Content-Type", "no content type")
    return f"a web page{said} from {host} instead of the file ({kind})"


def page_title(text: str) -> str:
    """The title of a page, white space folded, at most 80 characters."""
    return " ".join(_parsed(text).title.split())[:80]


def confirm_address(page: bytes, address: str) -> str | None:
    """Where Drive's "download anyway" of a file over 100 MB leads to; None if the page has none.

    Args:
        page: the HTML.
        address: where it came from; the way on must stay on its host or on Google's.
    """
    parsed = _parsed(page.decode("utf-8", "replace"))
    for form in parsed.forms:
        if form.form_id == "download-form" or ("confirm" in form.fields and "id" in form.fields):
            target = urlsplit(urljoin(address, form.action))
            query = dict(parse_qsl(target.query)) | form.fields
            return _allowed(urlunsplit(target._replace(query=urlencode(query), fragment="")), address)
    for link in parsed.links:
        # Until 2023 the page had a link with a short token in place of the form.
        target = urlsplit(urljoin(address, link))
        if "confirm" in dict(parse_qsl(target.query)):
            return _allowed(urlunsplit(target), address)
    return None


def folder_entries(page: bytes) -> list[tuple[str, str, bool]]:
    """(id, name, is a folder) of each entry of Drive's embedded folder view, in page order, without duplicates.

    The view lists a folder whole, where the folder's own page stops at 50 entries.
    """
    parser = _FolderParser()
    parser.feed(page.decode("utf-8", "replace"))
    parser.close()
    return list(dict.fromkeys(parser.entries))


class _FolderParser(HTMLParser):
    """An entry is a link to a file or folder and, inside the same entry, an element of class ``flip-entry-title``."""

    _LINK = re.compile(r"/(?:file/d|document/d|spreadsheets/d|presentation/d)/([A-Za-z0-9_-]{10,128})|/folders/([A-Za-z0-9_-]{10,128})")

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.entries: list[tuple[str, str, bool]] = []
        self._target: tuple[str, bool] | None = None
        self._title: list[str] | None = None
        self._title_tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "a":
            match = self._LINK.search(values.get("href", ""))
            if match:
                self._target = (match[1] or match[2], match[2] is not None)
        if "flip-entry-title" in values.get("class", "").split() and self._target is not None:
            self._title, self._title_tag = [], tag

    def handle_endtag(self, tag: str) -> None:
        if self._title is not None and tag == self._title_tag and self._target is not None:
            name = "".join(self._title).strip()
            self.entries.append((self._target[0], name, self._target[1]))
            self._title = self._target = None

    def handle_data(self, data: str) -> None:
        if self._title is not None:
            self._title.append(data)


def _parsed(text: str) -> _Parser:
    parser = _Parser()
    parser.feed(text)
    parser.close()
    return parser


def _allowed(target: str, address: str) -> str | None:
    # A hostile page must not send us to a host of its choice: the way on stays on the host or within Google's.
    host, origin = urlsplit(target).hostname or "", urlsplit(address).hostname or ""
    google = host == "drive.google.com" or host.endswith(".googleusercontent.com") or host == "drive.usercontent.google.com"
    same = host == origin
    return target if (same or google) and target.startswith(("https://", "http://")) else None
