"""A local HTTP server that serves files honestly, or misbehaves in a way that a test names.

A path answers with a `Served`: its content, what the server knows (ETag, ranges), and a script of quirks, one per request; when the script
is used up, the server is honest. Everything that was asked and every byte that left is counted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

QUOTA_PAGE = b"""<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body><div id="uc-text">
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently. Please try accessing the file again later.</p>
</div></body></html>"""
CAPTIVE_PAGE = b"""<html><head><title>Welcome to Airport WiFi</title><meta http-equiv="refresh" content="0;url=http://login.example/">
</head><body>Guest network: please log in to the hotspot.</body></html>"""
LOGIN_PAGE = b"<html><head><title>Sign in - Google Accounts</title></head><body>accounts.google.com/ServiceLogin</body></html>"
PLAIN_PAGE = b"<!doctype html><html><head><title>Index of /data</title></head><body>nothing here</body></html>"


@dataclass
class Served:
    """One address.

    Attributes:
        content: the bytes.
        script: quirks, used up one per request.
        etag: strong validator; None sends none.
        ranges: whether Range is honoured.
        rate: bytes per second, 0 for as fast as it goes.
        headers: sent with every answer.
    """

    content: bytes
    script: list[Quirk] = field(default_factory=list)
    etag: str | None = "auto"
    ranges: bool = True
    rate: float = 0
    headers: dict[str, str] = field(default_factory=dict)
    dynamic: Callable[[str, dict[str, str]], Served | None] | None = None

    def tag(self) -> str | None:
        return '"' + hashlib.sha256(self.content).hexdigest()[:16] + '"' if self.etag == "auto" else self.etag


Quirk = Callable[["Handler", Served], None]


@dataclass
class Asked:
    """One request."""

    path: str
    range: str | None
    headers: dict[str, str]
    sent: int = 0


class Mirror:
    """The server; use as a context manager."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.served: dict[str, Served] = {}
        self.fallback: Callable[[str], Served | None] = lambda _path: None
        self.asked: list[Asked] = []
        self.lock = threading.Lock()
        mirror = self

        class Bound(Handler):
            owner = mirror

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self.server.daemon_threads = True
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme = "https"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Mirror:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def base(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server.server_address[1]}"

    def add(self, path: str, content: bytes, *script: Quirk, **options: object) -> str:
        """Serve bytes under a path; returns the address."""
        self.served[path] = Served(content, list(script), **options)  # type: ignore[arg-type]
        return self.base + path

    def add_tree(self, folder: Path, prefix: str = "") -> None:
        """Serve every file below a folder."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.add(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def sent(self, path: str) -> int:
        """Bytes of bodies that left for a path."""
        return sum(asked.sent for asked in self.asked if asked.path == path)

    def count(self) -> Counter[str]:
        """Requests per path."""
        return Counter(asked.path for asked in self.asked)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET; counts."""

    owner: Mirror
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        # A small send buffer: what a killed client has not read has not left.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked = Asked(path, headers.get("range"), headers)
        with self.owner.lock:
            self.owner.asked.append(self.asked)
            plain = unquote(urlsplit(path).path)
            served = self.owner.served.get(path) or self.owner.served.get(plain) or self.owner.fallback(path)
            if served is not None and served.dynamic is not None:
                served = served.dynamic(path, headers)
            quirk = served.script.pop(0) if served is not None and served.script else honest
        if served is None:
            self.answer(404, b"not here")
            return
        try:
            quirk(self, served)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer(self, status: int, body: bytes, headers: Iterable[tuple[str, str]] = (), length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.pour(body)

    def pour(self, body: bytes, rate: float = 0, step: int = 1 << 14) -> None:
        for start in range(0, len(body), step):
            piece = body[start : start + step]
            self.wfile.write(piece)
            self.asked.sent += len(piece)
            if rate:
                time.sleep(len(piece) / rate)

    def start_of_range(self, served: Served) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if not match or not served.ranges or (condition is not None and condition != served.tag()):
            return 0
        return int(match[1])

    def cut(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)


def common(served: Served) -> list[tuple[str, str]]:
    tag = served.tag()
    return [*([("ETag", tag)] if tag else []), *served.headers.items()]


def honest(handler: Handler, served: Served) -> None:
    start, total = handler.start_of_range(served), len(served.content)
    if start and start >= total:
        handler.answer(416, b"", [("Content-Range", f"bytes */{total}")])
        return
    body = served.content[start:]
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
    for name, value in common(served):
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.pour(body, served.rate)


def cut_after(count: int) -> Quirk:
    """Announce everything, send `count` bytes (from the range's start), close."""

    def quirk(handler: Handler, served: Served) -> None:
        start, total = handler.start_of_range(served), len(served.content)
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        for name, value in common(served):
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(total - start))
        handler.end_headers()
        handler.pour(served.content[start : start + count])
        handler.cut()

    return quirk


def drip(count: int, pause: float) -> Quirk:
    """Send `count` single bytes with pauses, then close."""

    def quirk(handler: Handler, served: Served) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(served.content)))
        handler.end_headers()
        for value in served.content[:count]:
            handler.wfile.write(bytes([value]))
            handler.wfile.flush()
            time.sleep(pause)
        handler.cut()

    return quirk


def hold(reached: threading.Event, released: threading.Event) -> Quirk:
    """Send a byte, say so, and then one a second, too few to be of use, until released; then close."""

    def quirk(handler: Handler, served: Served) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(served.content)))
        handler.end_headers()
        for value in served.content[:-1]:
            handler.wfile.write(bytes([value]))
            handler.wfile.flush()
            reached.set()
            if released.wait(1):
                break
        handler.cut()

    return quirk


def keep_silent(reached: threading.Event, released: threading.Event) -> Quirk:
    """Take the request, say so, and answer nothing until released; then close."""

    def quirk(handler: Handler, served: Served) -> None:
        reached.set()
        released.wait()
        handler.cut()

    return quirk


def announce(length: int) -> Quirk:
    """Announce a wrong length, send everything, close."""

    def quirk(handler: Handler, served: Served) -> None:
        handler.close_connection = True
        handler.answer(200, served.content, common(served), length)
        handler.cut()

    return quirk


def without_length(handler: Handler, served: Served) -> None:
    """No length; the end of the connection is the end of the file."""
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.pour(served.content)


def chunked_cut(count: int) -> Quirk:
    """Chunked encoding that breaks off."""

    def quirk(handler: Handler, served: Served) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        piece = served.content[:count]
        handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        handler.cut()

    return quirk


def whole_for_range(handler: Handler, served: Served) -> None:
    """200 with everything, whatever was asked."""
    handler.answer(200, served.content, common(served))


def wrong_range(shift: int) -> Quirk:
    """206 that begins elsewhere."""

    def quirk(handler: Handler, served: Served) -> None:
        start = handler.start_of_range(served)
        if not start:
            honest(handler, served)
            return
        wrong, total = max(0, start + shift), len(served.content)
        body = served.content[wrong:]
        handler.answer(206, body, [("Content-Range", f"bytes {wrong}-{total - 1}/{total}"), *common(served)])

    return quirk


def lying_range(handler: Handler, served: Served) -> None:
    """206 that claims to begin where it was asked to, and states no range at all."""
    handler.answer(206, served.content, common(served))


def status(code: int, body: bytes = b"", **headers: str) -> Quirk:
    def quirk(handler: Handler, _served: Served) -> None:
        handler.answer(code, body, [(name.replace("_", "-"), value) for name, value in headers.items()])

    return quirk


def page(body: bytes, code: int = 200, kind: str = "text/html; charset=utf-8") -> Quirk:
    return lambda handler, _served: handler.answer(code, body, [("Content-Type", kind)])


def redirect(target: str, code: int = 302) -> Quirk:
    return lambda handler, _served: handler.answer(code, b"", [("Location", target)])


def wrong_content(handler: Handler, served: Served) -> None:
    """Other bytes of the same size, same beginning."""
    content = served.content[:-8] + b"\0" * 8 if len(served.content) > 64 else served.content[::-1]
    honest(handler, dataclasses.replace(served, content=content, etag='"other"'))


def always(quirk: Quirk, times: int = 10_000) -> list[Quirk]:
    return [quirk] * times
