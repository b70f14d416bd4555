"""What a card says about its files: where each can be had, what it must be, where it belongs.

These dataclasses are the schema of a card's ``files:`` section; `ldznet_bench.cards` reads it strictly. In a card it looks like this:

    files:
      root: VGPhraseCut_v0
      items:
        - path: refer_test.json
          splits: [test]
          about: 30.4 MB
          mirrors:
            - drive: 1jrzXm1gcq6f5hNDeamZd0UmyyHUv61IZ
            - hub: {repo: junbeomHong/phrasecut, type: dataset, path: refer_test.json}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from ldznet_bench.errors import unknown_name

Need = Literal["required", "wanted", "optional"]
Kind = Literal["json", "image", "zip", "tar", "pickle", "torch", "safetensors", "text", "any"]

_KIND_BY_SUFFIX: dict[str, Kind] = {
    **dict.fromkeys((".json",), "json"),
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".webp"), "image"),
    **dict.fromkeys((".zip",), "zip"),
    **dict.fromkeys((".tar", ".gz", ".tgz"), "tar"),
    **dict.fromkeys((".p", ".pkl"), "pickle"),
    **dict.fromkeys((".ckpt", ".pth", ".pt", ".bin"), "torch"),
    **dict.fromkeys((".safetensors",), "safetensors"),
    **dict.fromkeys((".txt", ".py", ".md", ".csv"), "text"),
}
DERIVED = "huggingface.co (parquet)"
"""Label of files that are written here from another form; their hash pins nothing."""
_MIRROR_KINDS = ("https", "drive", "hub", "web_archive", "member", "refer_parquet")
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DRIVE_ID = re.compile(r"[A-Za-z0-9_-]{10,128}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a Hugging Face repository.

    Attributes:
        repo: ``owner/name``.
        path: of the file in the repository; ``**/name`` is the one file of that name, in whatever folder.
        revision: branch, tag or commit.
        type: ``model`` or ``dataset``.
    """

    repo: str
    path: str
    revision: str = "main"
    type: Literal["model", "dataset"] = "model"

    @property
    def is_pattern(self) -> bool:
        """Whether the repository must be listed to know the path."""
        return self.path.startswith("**/")

    @property
    def repo_page(self) -> str:
        """The repository's page, where a licence is accepted."""
        return f"https://huggingface.co/{'datasets/' if self.type == 'dataset' else ''}{self.repo}"


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture of the Wayback Machine.

    Attributes:
        at: its time stamp.
        url: what was captured.
    """

    at: str
    url: str

    @property
    def address(self) -> str:
        """Of the captured bytes, without the archive's frame (``id_``)."""
        return f"https://web.archive.org/web/{self.at}id_/{self.url}"


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside an archive that the same card declares.

    Attributes:
        of: `FileSpec.path` of the archive.
        path: the name in the archive; for images a template as `ImagesSpec.path`.
    """

    of: str
    path: str


@dataclass(frozen=True, slots=True)
class ReferParquet:
    """A dataset repository on the Hub that holds REFER's refs and annotations as parquet, from which REFER's two files are written anew.

    Attributes:
        repo: ``owner/name``.
        revision: branch, tag or commit.
    """

    repo: str
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class Mirror:
    """One place where a file can be had; exactly one attribute is given.

    Attributes:
        https: a plain address.
        drive: the id of a file on Google Drive.
        hub: a file of a Hugging Face repository.
        web_archive: a capture of the Wayback Machine.
        member: a file inside another file of the card.
        refer_parquet: REFER's refs and annotations in another form.
    """

    https: str | None = None
    drive: str | None = None
    hub: HubFile | None = None
    web_archive: Capture | None = None
    member: Member | None = None
    refer_parquet: ReferParquet | None = None

    def __post_init__(self) -> None:
        given = [kind for kind in _MIRROR_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"a mirror is exactly one of {', '.join(_MIRROR_KINDS)}; this one is {' and '.join(given) or 'none'}")
        if self.https is not None and not self.https.startswith(("https://", "http://")):
            raise ValueError(f"{self.https!r} is no http(s) address")
        if self.drive is not None:
            check_drive_id(self.drive)

    @property
    def label(self) -> str:
        """One word for messages, and for ``--mirror``."""
        if self.https is not None:
            return urlsplit(self.https).netloc
        if self.drive is not None:
            return "drive.google.com"
        if self.refer_parquet is not None:
            return DERIVED
        if self.hub is not None:
            return "huggingface.co"
        return "web.archive.org" if self.web_archive is not None else "archive"

    @property
    def page(self) -> str:
        """What a person opens to fetch the file by hand."""
        if self.https is not None:
            return self.https
        if self.drive is not None:
            return f"https://drive.google.com/file/d/{self.drive}/view"
        if self.refer_parquet is not None:
            return f"https://huggingface.co/datasets/{self.refer_parquet.repo}"
        if self.hub is not None:
            where = f"tree/{self.hub.revision}" if self.hub.is_pattern else f"blob/{self.hub.revision}/{self.hub.path}"
            return f"{self.hub.repo_page}/{where}"
        if self.web_archive is not None:
            return f"https://web.archive.org/web/{self.web_archive.at}/{self.web_archive.url}"
        return f"{self.member.path} in {self.member.of}" if self.member is not None else ""


@dataclass(frozen=True, slots=True)
class FileSpec:
    """One file that a card names.

    Attributes:
        path: where it belongs, posix, relative to the card's root; its identity in the card.
        mirrors: where it can be had, best first.
        kind: what its bytes must look like; left out, the file name says.
        role: ``file``, or ``archive``: fetched only when a member of it is needed, kept only with ``--keep-archives``.
        size: bytes, where known exactly.
        about: roughly how large, for the plan: ``344.1 MB``.
        sha256: hex, where known; otherwise the first one seen is pinned.
        splits: which splits need it; empty means every split.
        aliases: other names under which people have it (``--from``).
        need: ``required``; ``wanted``: fetched, but the rest is of use without it; ``optional``: left alone unless asked for by name.
        note: what one should know about it; said when a wanted file cannot be had.
    """

    path: str
    mirrors: tuple[Mirror, ...]
    kind: Kind | None = None
    role: Literal["file", "archive"] = "file"
    size: int | None = None
    about: str | None = None
    sha256: str | None = None
    splits: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    need: Need = "required"
    note: str = ""

    def __post_init__(self) -> None:
        check_relative(self.path)
        parse_size(self.about)
        if not self.mirrors:
            raise ValueError(f"{self.path} has no mirror")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"the sha256 of {self.path} is not 64 lower-case hex digits; write null where it is not known")

    @property
    def name(self) -> str:
        """The last part of `path`."""
        return PurePosixPath(self.path).name

    @property
    def content(self) -> Kind:
        """What its bytes must look like."""
        return self.kind or kind_of(self.path)

    @property
    def weight(self) -> int | None:
        """Bytes to expect, exact or rough; None where nobody knows."""
        return self.size if self.size is not None else parse_size(self.about)


@dataclass(frozen=True, slots=True)
class RepoFile:
    """One file of a `RepoSpec`; attributes as in `FileSpec`, `name` is its path in the repository."""

    name: str
    size: int | None = None
    about: str | None = None
    sha256: str | None = None
    need: Need = "required"


@dataclass(frozen=True, slots=True)
class RepoSpec:
    """Several files of one Hugging Face repository.

    Attributes:
        repo: ``owner/name``.
        files: which of its files; each a name, or a mapping with what is known about it.
        path: folder below the card's root that they go to.
        revision: branch, tag or commit.
        type: ``model`` or ``dataset``.
    """

    repo: str
    files: tuple[str | RepoFile, ...]
    path: str = "."
    revision: str = "main"
    type: Literal["model", "dataset"] = "model"

    def expand(self) -> list[FileSpec]:
        """Its files, one by one."""
        entries = [RepoFile(entry) if isinstance(entry, str) else entry for entry in self.files]
        return [
            FileSpec(
                path=str(PurePosixPath(self.path) / entry.name),
                mirrors=(Mirror(hub=HubFile(self.repo, entry.name, self.revision, self.type)),),
                size=entry.size,
                about=entry.about,
                sha256=entry.sha256,
                need=entry.need,
            )
            for entry in entries
        ]


@dataclass(frozen=True, slots=True)
class ImagesSpec:
    """The images that the splits need, one by one or out of archives.

    Attributes:
        path: template of where an image belongs, over the fields that the listing yields: ``images/{image_id}.jpg``.
        listing: how the needed images are listed; a name of `ldznet_bench.acquisition.listings.LISTINGS`.
        urls: templates of addresses, best first.
        archives: members of archives, in order, tried when the addresses fail.
        archives_above: with more images than this the archives come first (one archive is faster than that many requests).
        about: roughly how large one image is, for the plan.
        counts: images per split, for the plan before the annotations are here.
    """

    path: str
    listing: str
    urls: tuple[str, ...] = ()
    archives: tuple[Member, ...] = ()
    archives_above: int = 20_000
    about: str | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_relative(self.path)
        parse_size(self.about)
        if not self.urls and not self.archives:
            raise ValueError("images need urls or archives")


@dataclass(frozen=True, slots=True)
class FolderSpec:
    """A folder on Google Drive, taken whole.

    Attributes:
        drive: its id.
        images: how many image files the release counts; None where unknown.
        about: roughly how large.
        unpack: whether archives in it are unpacked where they lie.
    """

    drive: str
    images: int | None = None
    about: str | None = None
    unpack: bool = False

    def __post_init__(self) -> None:
        check_drive_id(self.drive)
        parse_size(self.about)

    @property
    def page(self) -> str:
        """What a person opens to fetch the folder by hand."""
        return f"https://drive.google.com/drive/folders/{self.drive}"


@dataclass(frozen=True, slots=True)
class CardFiles:
    """The ``files:`` section of a card.

    Attributes:
        root: folder under ``HOME/datasets`` or ``HOME/weights`` that holds the files.
        items: single files and archives.
        repos: files of Hugging Face repositories.
        images: the images, where they are fetched one by one.
        folder: a Drive folder, where the release is one.
        accept: what must be accepted by hand before a host gives the files, as a sentence; empty if nothing.
    """

    root: str
    items: tuple[FileSpec, ...] = ()
    repos: tuple[RepoSpec, ...] = ()
    images: ImagesSpec | None = None
    folder: FolderSpec | None = None
    accept: str = ""

    def __post_init__(self) -> None:
        check_relative(self.root)
        paths = [item.path for item in self.files]
        twice = sorted({path for path in paths if paths.count(path) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is declared twice; give it once, with all its mirrors")
        archives = {item.path for item in self.items if item.role == "archive"}
        members = [mirror.member for item in self.items for mirror in item.mirrors if mirror.member is not None]
        members += self.images.archives if self.images else ()
        unknown = [member.of for member in members if member.of not in archives]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no archive of this card; declare it among the items with `role: archive`")

    @property
    def files(self) -> list[FileSpec]:
        """Every file that is named one by one."""
        return [*self.items, *(file for repo in self.repos for file in repo.expand())]

    def file(self, path: str) -> FileSpec:
        """The file of a path.

        Raises:
            BenchError: the card has none of that name.
        """
        for file in self.files:
            if file.path == path:
                return file
        raise unknown_name("file of the card", path, (file.path for file in self.files))

    def needed(self, splits: Sequence[str], extra: Iterable[str] = ()) -> list[FileSpec]:
        """The files that the splits need, and those asked for by name; archives are left out. No splits means every split."""
        wanted, named = set(splits), set(extra)
        return [
            file
            for file in self.files
            if file.role == "file"
            and (file.path in named or (file.need != "optional" and (not file.splits or not wanted or wanted & set(file.splits))))
        ]


def check_relative(path: str) -> None:
    """Refuse a path that does not stay below its root.

    Raises:
        ValueError: it is absolute, climbs out with ``..``, has a drive letter or characters that no file name should have.
    """
    parts = PurePosixPath(path).parts
    odd = "\\" in path or any(ord(character) < 32 for character in path) or re.match(r"[A-Za-z]:", path)
    if not path or path.startswith("/") or ".." in parts or odd:
        raise ValueError(f"{path!r} is not a path below its folder; write it relative, with forward slashes and without '..'")


def check_drive_id(text: str) -> None:
    """Refuse what cannot be an id of Google Drive.

    Raises:
        ValueError: saying where the id is found.
    """
    if not _DRIVE_ID.fullmatch(text):
        raise ValueError(f"{text!r} is no Drive id; it is the long word in the share link, after /d/ or id=")


def parse_size(text: str | None) -> int | None:
    """Bytes from ``344.1 MB``; None stays None.

    Raises:
        ValueError: not a number with a unit.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(B|kB|MB|GB)", text)
    if match is None:
        raise ValueError(f"{text!r} is no size; write a number and B, kB, MB or GB")
    return int(float(match[1]) * _UNITS[match[2]])


def format_size(size: int | None) -> str:
    """``344.1 MB``; ``size unknown`` for None."""
    if size is None:
        return "size unknown"
    for unit in ("GB", "MB", "kB"):
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.1f} {unit}"
    return f"{size} B"


def kind_of(path: str) -> Kind:
    """The kind that a file name promises."""
    return _KIND_BY_SUFFIX.get(PurePosixPath(path).suffix.lower(), "any")
