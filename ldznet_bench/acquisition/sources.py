"""Mirrors as things that can be asked for bytes: plain addresses, Google Drive, the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import requests
from requests.auth import AuthBase

from ldznet_bench.acquisition.failures import MirrorFailure
from ldznet_bench.acquisition.pages import confirm_address
from ldznet_bench.acquisition.specs import HubFile, Mirror

DRIVE_VARIABLE = "LDZNET_BENCH_DRIVE_ENDPOINT"
"""Stands in for https://drive.google.com, as HF_ENDPOINT does for the Hub: for a caching proxy, and for tests."""


@dataclass(slots=True)
class Source:
    """A plain address.

    Attributes:
        name: the mirror, as the journal of a part names it.
        url: what to ask; may change on the way (Drive's confirmation).
        auth: credentials for its host; None leaves ``.netrc`` to requests.
    """

    name: str
    url: str
    auth: AuthBase | None = None

    def follow(self, page: bytes, address: str) -> str | None:
        """The address that a web page leads on to, if this source has such pages."""
        del page, address
        return None

    def sha256_of(self, response: requests.Response) -> str | None:
        """The hash that the host states for the file."""
        del response
        return None

    def denied(self, response: requests.Response) -> str:
        """What a 401 or 403 means here, and what to do."""
        return f"HTTP {response.status_code}: the host does not give this file to us"


@dataclass(slots=True)
class DriveSource(Source):
    """A file on Google Drive; over 100 MB a page must be confirmed first."""

    def follow(self, page: bytes, address: str) -> str | None:
        """The form or link of the virus-scan page."""
        return confirm_address(page, address)

    def denied(self, response: requests.Response) -> str:
        """Drive answers 403 both for its quota and for files that are not shared."""
        return f"HTTP {response.status_code}: Drive refuses (quota used up, or the file is not shared any more)"


@dataclass(slots=True)
class HubSource(Source):
    """A file of the Hugging Face Hub. The address, token and cache are huggingface_hub's; the bytes come through our own transfer."""

    repo_page: str = ""

    def sha256_of(self, response: requests.Response) -> str | None:
        """The Hub states the sha256 of large files in a header of its own answer, before it redirects to the store."""
        for answer in (*response.history, response):
            etag = answer.headers.get("X-Linked-Etag", "").strip('W/"')
            if re.fullmatch(r"[0-9a-f]{64}", etag):
                return etag
        return None

    def denied(self, response: requests.Response) -> str:
        """Gated, private, or no such repository: the Hub says which in a header."""
        code = response.headers.get("X-Error-Code", "")
        if code == "GatedRepo":
            return f"gated: accept the licence at {self.repo_page}, then log in with `hf auth login` (or set HF_TOKEN)"
        if code == "RepoNotFound" or response.status_code == 401:
            return (
                f"HTTP {response.status_code}: the repository is private, gated or gone: open {self.repo_page}, accept what it asks, "
                "then log in with `hf auth login` (or set HF_TOKEN)"
            )
        return f"HTTP {response.status_code}: open {self.repo_page}, accept its licence if it has one, then log in with `hf auth login`"


class _Bearer(AuthBase):
    """Hub token; as an `AuthBase`, so that a ``.netrc`` entry does not take its place, and requests drops it on another host."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.value = headers.get("authorization") or headers.get("Authorization")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.value:
            request.headers["Authorization"] = self.value
        return request


def source_of(mirror: Mirror) -> Source:
    """What to ask for a mirror that is on the network.

    Raises:
        MirrorFailure: the Hub is switched off (``HF_HUB_OFFLINE``).
        ValueError: it is a member of an archive, which is no address.
    """
    if mirror.https is not None:
        return Source(mirror.https, mirror.https)
    if mirror.web_archive is not None:
        return Source(mirror.web_archive.address, mirror.web_archive.address)
    if mirror.drive is not None:
        return DriveSource(f"drive:{mirror.drive}", drive_address(mirror.drive))
    if mirror.hub is not None:
        return _hub_source(mirror.hub)
    raise ValueError("a member of an archive is not on the network")


def drive_address(file_id: str) -> str:
    """Where Drive gives a file, or its confirmation page."""
    return f"{drive_endpoint()}/uc?export=download&id={quote(file_id)}"


def drive_folder_address(folder_id: str) -> str:
    """Drive's embedded view of a folder."""
    return f"{drive_endpoint()}/embeddedfolderview?id={quote(folder_id)}"


def drive_endpoint() -> str:
    """Google Drive, or what stands in for it."""
    return os.environ.get(DRIVE_VARIABLE, "https://drive.google.com").rstrip("/")


def hub_cached(file: HubFile) -> Path | None:
    """The file in huggingface_hub's own cache (``HF_HOME``), if another program has fetched it already."""
    if file.is_pattern:
        return None
    from huggingface_hub import try_to_load_from_cache  # 0.3 s, only where a hub file is wanted

    found = try_to_load_from_cache(file.repo, file.path, revision=file.revision, repo_type=file.type)
    return Path(found) if isinstance(found, str) and Path(found).is_file() else None


def hub_tree_address(repo: str, repo_type: str, revision: str) -> str:
    """Where the Hub lists the files of a repository.

    Raises:
        MirrorFailure: the Hub is switched off.
    """
    from huggingface_hub import constants

    _check_hub_is_on()
    return f"{constants.ENDPOINT}/api/{repo_type}s/{quote(repo)}/tree/{quote(revision, safe='')}?recursive=true"


def hub_token() -> AuthBase | None:
    """The user's token, as huggingface_hub finds it; None where there is none, so that ``.netrc`` has its turn."""
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers = build_hf_headers(library_name="ldznet-bench")
    return _Bearer(headers) if any(name.lower() == "authorization" for name in headers) else None


def _hub_source(file: HubFile) -> HubSource:
    from huggingface_hub import constants, hf_hub_url

    _check_hub_is_on()
    url = hf_hub_url(file.repo, file.path, repo_type=file.type, revision=file.revision, endpoint=constants.ENDPOINT)
    return HubSource(f"hub:{file.type}:{file.repo}@{file.revision}/{file.path}", url, hub_token(), file.repo_page)


def _check_hub_is_on() -> None:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise MirrorFailure("HF_HUB_OFFLINE is set, and the file is not in the Hugging Face cache")
