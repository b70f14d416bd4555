"""What a repository of the Hugging Face Hub holds, for mirrors whose layout is not known beforehand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import PurePosixPath

from ldznet_bench.acquisition.failures import MirrorFailure
from ldznet_bench.acquisition.network import Network
from ldznet_bench.acquisition.sources import HubSource, hub_token, hub_tree_address
from ldznet_bench.acquisition.specs import HubFile, check_relative
from ldznet_bench.acquisition.transfer import fetch_page

_MAX_PAGES = 200  # of 1,000 files; the largest mirror holds 77,000 images


def list_hub(network: Network, repo: str, repo_type: str, revision: str) -> Iterator[str]:
    """Paths of the files of a repository, page by page.

    Raises:
        MirrorFailure: there is no such repository, or it answers with something else than a listing.
    """
    address: str | None = hub_tree_address(repo, repo_type, revision)
    page_of = f"https://huggingface.co/{'datasets/' if repo_type == 'dataset' else ''}{repo}"
    for _ in range(_MAX_PAGES):
        if address is None:
            return
        content, address = fetch_page(network, HubSource(address, address, hub_token(), page_of))
        try:
            paths = [str(entry["path"]) for entry in json.loads(content) if entry["type"] == "file"]
            for path in paths:
                check_relative(path)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise MirrorFailure(f"the Hub's listing of {repo} cannot be read") from error
        yield from paths


def find_on_hub(network: Network, file: HubFile) -> HubFile:
    """The one file that a ``**/name`` stands for.

    Raises:
        MirrorFailure: there is none, or there are several.
    """
    name = file.path.removeprefix("**/")
    found = [path for path in list_hub(network, file.repo, file.type, file.revision) if f"/{path}".endswith(f"/{name}")]
    if len(found) != 1:
        told = ", ".join(sorted(found, key=lambda path: len(PurePosixPath(path).parts))[:3]) or "no such file"
        raise MirrorFailure(f"{file.repo} does not hold one {name}: {told}")
    return dataclasses.replace(file, path=found[0])
