"""Small releases in the real layouts, served as their real hosts serve them, and cards whose counts and hashes are theirs.

Everything is read from the cards that come with the package: what a card names as a Drive id is served as that id, what it names as a file of a
repository, an archive or an address is served there. So a card that names a file nobody could have is noticed here.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import make_releases
import numpy as np
import yaml
from hosts import Drive, Hub
from mirror import Mirror
from PIL import Image

CARDS = Path(__file__).parent.parent / "datasets"
WORD_LISTS = ("color", "shape", "material", "texture", "state", "adj", "noun", "loc", "count", "bad")


class Hosts:
    """Every host of the cards, on one local server.

    Args:
        mirror: the server.
        folder: for the releases and the cards.
    """

    def __init__(self, mirror: Mirror, folder: Path) -> None:
        self.mirror, self.folder = mirror, folder
        self.drive, self.hub = Drive(mirror), Hub(mirror)

    def environment(self) -> dict[str, str]:
        """What a process needs to find Drive and the Hub here."""
        return {"LDZNET_BENCH_DRIVE_ENDPOINT": self.mirror.base, "HF_ENDPOINT": self.mirror.base, "HF_HUB_OFFLINE": "0"}

    def local(self, address: str) -> str:
        """An address of the world as an address of this server."""
        return f"{self.mirror.base}/{address.split('://', 1)[1]}"

    def phrasecut(self, images: int = 8, phrases: int = 25) -> Path:
        """PhraseCut test; returns the card."""
        release = make_releases.phrasecut(self.folder, images=images, phrases=phrases)
        (release / "image_data_split.json").rename(release / "image_data_split3000.json")
        entries = json.loads((release / "image_data_split3000.json").read_text())
        for entry in entries:
            address = f"https://cs.stanford.edu/people/rak248/VG_100K_2/{entry['image_id']}.jpg"
            entry["url"] = self.local(address)
            self.serve(address, (release / "images" / f"{entry['image_id']}.jpg").read_bytes())
        (release / "image_data_split3000.json").write_text(json.dumps(entries))
        (release / "utils").mkdir()
        words = (
            "".join(f"att_{name} = ['{name} one', '{name} two']\n" for name in WORD_LISTS) + "coco = ['cat', 'dog']\nstuff_names = ['sky', 'mat']\n"
        )
        (release / "utils" / "subset.py").write_text(words)
        return self.card("phrasecut", release, {("test", None): {"images": images, "phrases": phrases}})

    def refer(self, family: str, partition: str, images: int = 6, refs: int = 24) -> Path:
        """One family of REFER; returns the card."""
        folder = make_releases.refer(self.folder, family, partition, images=images, refs=refs)
        if family == "refcocog":  # its third split is called test
            _rename_splits(folder / f"refs({partition}).p", {"testA": "test", "testB": "test"})
        from ldznet_bench.acquisition.listings import list_refer

        counts = {}
        for split in yaml.safe_load((CARDS / f"{family}.yaml").read_text())["partitions"][partition]["splits"]:
            found = list_refer(folder, partition, split).found
            counts[split, partition] = {"images": found.images, "phrases": found.phrases, "refs": found.refs}
        return self.card(family, folder.parent, counts)

    def aigi(self, images: int = 60) -> Path:
        """AIGI as images and ``masks/<image>_<caption>.png`` in a Drive folder with a folder in it; returns the card."""
        release = self.folder / "AIGI"
        (release / "masks").mkdir(parents=True)
        instances = 0
        for number in range(images):
            make_releases.photograph(release / f"img{number:03d}.jpg", 64, 48, number)
            for caption in ("teddy_bear", "cars")[: 1 + number % 2]:
                mask = np.zeros((48, 64), np.uint8)
                mask[5 : 20 + number % 9, 10:40] = 255
                buffer = io.BytesIO()
                Image.fromarray(mask).save(buffer, "PNG")
                (release / "masks" / f"img{number:03d}_{caption}.png").write_bytes(buffer.getvalue())
                instances += 1
        card = yaml.safe_load((CARDS / "aigi.yaml").read_text())
        top = card["files"]["folder"]["drive"]
        entries = [(f"file0000{path.name}".replace(".", "_"), path.name, False) for path in sorted(release.glob("*.jpg"))]
        masks = [(f"mask0000{path.name}".replace(".", "_"), path.name, False) for path in sorted((release / "masks").iterdir())]
        self.drive.add_folder(top, [*entries, ("folder00000masks", "masks", True)])
        self.drive.add_folder("folder00000masks", masks)
        for file_id, name, _ in entries:
            self.drive.add(file_id, (release / name).read_bytes())
        for file_id, name, _ in masks:
            self.drive.add(file_id, (release / "masks" / name).read_bytes())
        card["files"]["folder"]["images"] = images
        card["splits"] = {"test": {"images": images, "instances": instances}}
        return self.write_card(card)

    def grefcoco(self) -> Path:
        """gRefCOCO; returns the card."""
        from ldznet_bench.acquisition.listings import list_grefer

        folder = make_releases.grefcoco(self.folder)
        found = {split: list_grefer(folder, "unc", split).found for split in ("train", "val", "testA", "testB")}
        return self.card("grefcoco", folder.parent, {(split, "unc"): {"images": one.images, "phrases": one.phrases} for split, one in found.items()})

    def refcoco_m(self) -> Path:
        """RefCOCO-M as tables on the Hub, RefCOCO in its archive; returns the card."""
        from ldznet_bench.acquisition.listings import list_refcoco_m

        folder = make_releases.refcoco_m(self.folder)
        found = list_refcoco_m(folder, None, "val").found
        counts = {"images": found.images, "phrases": found.phrases, "refs": found.refs}
        self.hub.add("moondream/refcoco-m", {f"data/{path.name}": path.read_bytes() for path in folder.glob("data/*.parquet")}, kind="dataset")
        return self.card("refcoco-m", folder.parent, {("val", partition): counts for partition in ("new", "old")})

    def reasonseg(self, images: int = 6) -> Path:
        """ReasonSeg as zips in a Drive folder; returns the card."""
        release = make_releases.reasonseg(self.folder, images=images)
        card = yaml.safe_load((CARDS / "reasonseg.yaml").read_text())
        entries = []
        for split in ("val", "test"):
            files = {f"{split}/{path.name}": path.read_bytes() for path in (release / split).iterdir()}
            entries.append((self.drive.add(f"reason0000{split}zip", _zip(files)), f"{split}.zip", False))
            card["splits"][split] = {"images": images, "phrases": images}
        self.drive.add_folder(card["files"]["folder"]["drive"], entries)
        return self.write_card(card)

    def card(self, family: str, release: Path, counts: dict[tuple[str, str | None], dict[str, int | None]]) -> Path:
        """Serve everything that a card names, and write the card that says so with local addresses, counts and hashes."""
        card = yaml.safe_load((CARDS / f"{family}.yaml").read_text())
        for (split, partition), expected in counts.items():
            splits = card["splits"] if partition is None else card["partitions"][partition]["splits"]
            splits[split] = expected
        archives: dict[str, dict[str, bytes]] = {}
        for item in card["files"]["items"]:
            path = release / item["path"]
            if item.get("role") == "archive" or not path.is_file():
                continue
            content = path.read_bytes()
            item |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            for mirror in item["mirrors"]:
                self._serve(mirror, content, archives)
        self._archive_images(card, release, archives)
        for item in card["files"]["items"]:
            if item.get("role") == "archive":
                item.pop("size", None)
                for mirror in item["mirrors"]:
                    self._serve(mirror, _zip(archives.get(item["path"], {})), archives)
        images = card["files"].get("images")
        if images:
            images["urls"] = [self.local(url) if "://" in url else url for url in images["urls"]]
        return self.write_card(card)

    def write_card(self, card: dict[str, Any]) -> Path:
        path = self.folder / f"{card['family']}.card.yaml"
        path.write_text(yaml.safe_dump(card, sort_keys=False))
        return path

    def serve(self, address: str, content: bytes) -> str:
        local = self.local(address.replace("%2F", "").replace("?", "/"))  # the mirror tells files by path, some hosts by query
        self.mirror.add(urlsplit(local).path, content)
        return local

    def _serve(self, mirror: dict[str, Any], content: bytes, archives: dict[str, dict[str, bytes]]) -> None:
        """Serve a file as one mirror of the card has it; addresses become local ones."""
        if "drive" in mirror:
            self.drive.add(mirror["drive"], content)
        elif "hub" in mirror:
            hub = mirror["hub"]
            path = hub["path"].replace("**/", "VGPhraseCut_v0/")
            self.hub.add(hub["repo"], {path: content}, hub.get("revision", "main"), hub.get("type", "model"))
        elif "web_archive" in mirror:
            capture = mirror.pop("web_archive")
            mirror["https"] = self.serve(f"https://web.archive.org/web/{capture['at']}id_/{capture['url']}", content)
        elif "member" in mirror:
            archives.setdefault(mirror["member"]["of"], {})[mirror["member"]["path"]] = content
        elif "https" in mirror:
            mirror["https"] = self.serve(mirror["https"], content)

    def _archive_images(self, card: dict[str, Any], release: Path, archives: dict[str, dict[str, bytes]]) -> None:
        """Half of the images into each archive that holds a part, under the names that its publisher gives them."""
        images = card["files"].get("images")
        if not images:
            return
        paths = sorted((release / images["path"]).parent.glob("*.jpg"))
        for path in paths:
            if "{image_id:012d}" in images["urls"][-1]:
                self.serve(images["urls"][-1].format(image_id=int(path.stem[-12:])), path.read_bytes())
        members = images.get("archives", [])
        for number, path in enumerate(paths):
            member = members[number % min(2, len(members))]
            folder = {"VG_100K_2.zip": "VG_100K_2/", "VG_100K.zip": "VG_100K/", "train2014.zip": "train2014/"}[member["of"]]
            archives.setdefault(member["of"], {})[folder + path.name] = path.read_bytes()


def _rename_splits(path: Path, names: dict[str, str]) -> None:
    import pickle

    refs = pickle.loads(path.read_bytes())
    for ref in refs:
        ref["split"] = names.get(ref["split"], ref["split"])
    path.write_bytes(pickle.dumps(refs, protocol=2))


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(files):
            file.writestr(zipfile.ZipInfo(name, (2022, 4, 13, 0, 0, 0)), files[name])
    return buffer.getvalue()


def serve_weights(hosts: Hosts, model: str) -> Path:
    """Small files of the right kinds for everything that a model card names; returns the card with their hashes."""
    card = yaml.safe_load((CARDS.parent / "baselines" / f"{model}.yaml").read_text())
    for part in card["parts"].values():
        for source in part.get("sources", []):
            files = source.get("download") or {}
            for item in files.get("items", []):
                content = _of_kind(item["path"])
                item |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                for mirror in item["mirrors"]:
                    hosts._serve(mirror, content, {})
            for repo in files.get("repos", []):
                repo["files"] = [_hub_file(hosts, repo, {"name": entry} if isinstance(entry, str) else entry) for entry in repo["files"]]
    path = hosts.folder / f"{model}.card.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(card, sort_keys=False))
    return path


def _hub_file(hosts: Hosts, repo: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    content = _of_kind(entry["name"])
    hosts.hub.add(repo["repo"], {entry["name"]: content}, repo.get("revision", "main"), repo.get("type", "model"))
    return entry | {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _of_kind(name: str) -> bytes:
    """A file that is what its name says, different for each name."""
    if name.endswith(".json"):
        return json.dumps({"name": name, "padding": "x" * 2000}).encode()
    if name.endswith(".safetensors"):
        header = json.dumps({name: {"dtype": "U8", "shape": [3000], "data_offsets": [0, 3000]}}).encode()
        return len(header).to_bytes(8, "little") + header + bytes(3000)
    if name.endswith((".ckpt", ".bin", ".pth")):
        return _zip({"archive/data.pkl": name.encode(), "archive/data/0": bytes(3000)})
    return f"#version: 0.2 {name}\n".encode()
