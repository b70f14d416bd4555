"""Google Drive and the Hugging Face Hub as far as a downloader sees them, played by a local server."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote, urlsplit

from mirror import Mirror, Served, honest, page, status

VIRUS_LIMIT = 100_000
"""A file above this gets the virus-scan page first; on the real Drive it is 100 MB."""


class Drive:
    """Files and folders by id.

    Args:
        mirror: the server to play on.
    """

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.files: dict[str, Served] = {}
        self.folders: dict[str, list[tuple[str, str, bool]]] = {}
        for path in ("/uc", "/download", "/embeddedfolderview"):
            mirror.served[path] = Served(b"", dynamic=self._answer)

    def add(self, file_id: str, content: bytes, *script: object, **options: object) -> str:
        self.files[file_id] = Served(content, list(script), **options)  # type: ignore[arg-type]
        return file_id

    def add_folder(self, folder_id: str, entries: list[tuple[str, str, bool]]) -> None:
        self.folders[folder_id] = entries

    def _answer(self, path: str, _headers: dict[str, str]) -> Served | None:
        parts = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        wanted = query.get("id", "")
        if parts.path == "/embeddedfolderview":
            return self._folder(wanted)
        served = self.files.get(wanted)
        if served is None:
            return Served(b"", [status(404)])
        if served.script:
            return served
        if len(served.content) > VIRUS_LIMIT and query.get("confirm") != "t":
            form = (
                "<html><head><title>Google Drive - Virus scan warning</title></head><body>"
                f'<form id="download-form" action="{self.mirror.base}/download" method="get">'
                f'<input type="hidden" name="id" value="{wanted}"><input type="hidden" name="confirm" value="t">'
                '<input type="hidden" name="uuid" value="1"></form></body></html>'
            )
            return Served(b"", [page(form.encode())])
        return served

    def _folder(self, folder_id: str) -> Served:
        entries = self.folders.get(folder_id)
        if entries is None:
            return Served(b"", [page(b"<html><title>Google Drive: Sign-in</title><p>You need access</p></html>")])
        body = "".join(
            f'<div class="flip-entry" id="entry-{entry_id}"><div class="flip-entry-info"><a href="https://drive.google.com/'
            f'{"drive/folders/" + entry_id if is_folder else "file/d/" + entry_id + "/view?usp=drive_web"}">'
            f'<div class="flip-entry-title">{html.escape(name)}</div></a></div></div>'
            for entry_id, name, is_folder in entries
        )
        return Served(b"", [page(f'<html><body><div class="flip-entries">{body}</div></body></html>'.encode())])


class Hub:
    """Repositories of files; large ones are answered by a redirect that states their sha256, as the real Hub does.

    Args:
        mirror: the server to play on.
        store: another server that large files are redirected to; the same one if None.
        token: what a gated repository asks for.
    """

    LARGE = 1000

    def __init__(self, mirror: Mirror, store: Mirror | None = None, token: str = "hf_secret") -> None:
        self.mirror, self.store, self.token = mirror, store or mirror, token
        self.repos: dict[str, dict[str, bytes]] = {}
        self.gated: set[str] = set()
        mirror.fallback = self._answer

    def add(self, repo: str, files: Mapping[str, bytes], revision: str = "main", kind: str = "model", gated: bool = False) -> None:
        key = f"{kind}s/{repo}@{revision}"
        self.repos.setdefault(key, {}).update(files)
        if gated:
            self.gated.add(key)
        for path, content in files.items():
            self.store.served[f"/store/{key}/{path}"] = Served(content)

    def _answer(self, path: str) -> Served | None:
        plain = unquote(urlsplit(path).path)
        if plain.startswith("/api/"):
            return self._tree(plain.removeprefix("/api/"))
        if "/resolve/" not in plain:
            return None
        head, _, rest = plain.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        key = f"{head if head.startswith('datasets/') else 'models/' + head}@{revision}"
        if key not in self.repos:
            return Served(b"", [status(401, b'{"error":"Invalid username or password."}', X_Error_Code="RepoNotFound")])
        return Served(b"", [self._file(key, name)])

    def _file(self, key: str, name: str):
        content = self.repos[key].get(name)

        def answer(handler, _served):
            if key in self.gated and handler.headers.get("Authorization") != f"Bearer {self.token}":
                body = json.dumps({"error": f"Access to model {key} is restricted."}).encode()
                status(403 if "Authorization" in handler.headers else 401, body, X_Error_Code="GatedRepo")(handler, _served)
            elif content is None:
                status(404, b"Entry not found", X_Error_Code="EntryNotFound")(handler, _served)
            elif len(content) > self.LARGE:
                handler.send_response(302)
                handler.send_header("Location", f"{self.store.base}/store/{key}/{name}")
                handler.send_header("X-Linked-Etag", '"' + hashlib.sha256(content).hexdigest() + '"')
                handler.send_header("X-Linked-Size", str(len(content)))
                handler.send_header("Content-Length", "0")
                handler.end_headers()
            else:
                honest(handler, Served(content))

        return answer

    def _tree(self, path: str) -> Served | None:
        head, _, revision = path.partition("/tree/")
        files = self.repos.get(f"{head}@{unquote(revision)}")
        if files is None:
            return Served(b"", [status(404)])
        listing = [{"type": "directory", "path": "data"}, *({"type": "file", "path": name, "size": len(files[name])} for name in files)]
        return Served(json.dumps(listing).encode())
