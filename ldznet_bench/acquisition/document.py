"""``docs/datasets.md``, written from the cards so that it cannot say anything else.

python -m ldznet_bench.acquisition.document docs/datasets.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ldznet_bench.acquisition.specs import CardFiles, FileSpec, Mirror, format_size
from ldznet_bench.atomic import write_bytes
from ldznet_bench.cards import card_names
from ldznet_bench.datasets.card import DatasetCard, Split, dataset_card
from ldznet_bench.models.card import ModelCard, model_card

_INTRODUCTION = """# Datasets and weights

<!-- Written from the cards by `python -m ldznet_bench.acquisition.document docs/datasets.md`; a test holds it to them. Change the cards. -->

    ldznet-bench download phrasecut:test      # says what, from where, how large, under which licence; fetches, verifies, prepares
    ldznet-bench download phrasecut:test --dry-run
    ldznet-bench verify phrasecut:test        # every hash, every image, every count again; how to mend what is bad
    ldznet-bench run --models clipseg --datasets phrasecut:test --offline

Files go below `HOME` (`--home`, or `LDZNET_BENCH_HOME`, or `~/.cache/ldznet_bench`): releases to `HOME/datasets`, laid out as their authors lay
them out, weights to `HOME/weights`. Nothing is redistributed: every file comes from whoever publishes it, under its own licence.

**A file appears whole or not at all.** Bytes arrive in `HOME/partial` with a journal of checksums, one per MiB; a command that was stopped or
killed goes on at the last whole one. Before a file is put in place its size, sha256 (where the card or the host states one), first bytes and
structure are checked. Where nobody has published a hash, the first one seen is pinned in `HOME/ledger`: another content under the same name is
refused later, until `remove --forget-pins` or a card that states the new hash.

**Mirrors** are tried in the order of the card; the message keeps the answer of each. `--mirror https://lab.example/mirror` puts an address first
that holds files as `<root>/<path>` (the roots and paths below); `--mirror huggingface.co` puts one of the card's hosts first. Proxies, `.netrc`,
`REQUESTS_CA_BUNDLE`, `HF_HOME`, `HF_TOKEN`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` are honoured.

**By hand.** `--from DIR|FILE` takes what you fetched yourself, in any layout, loose, zipped or tarred, through the same checks; what is not found
there comes from the mirrors.

**Counts** are held against the card before images are fetched. A release that differs is refused with a table of both; `--allow-partial` accepts
it, and its numbers are stamped partial. `--card FILE` replaces a card: copy it, change mirrors, counts or checksums.

**Offline.** Everything that `run` needs, tokenizers included, comes with `download`. `--offline`, or `LDZNET_BENCH_OFFLINE=1`, makes no network
call at all.

**Odd images.** Annotations are for the pixels as stored: EXIF rotation is never applied. CMYK, palette, grey and alpha images are read as Pillow
converts them to RGB; 16-bit grey keeps its high byte. An image whose size contradicts its annotation is kept and flagged, and left out only by the
protocols that leave it out (`clipseg@1` and `ldznet@1` drop the 17 of PhraseCut). A missing, truncated or undecodable image is an error with its
id. `download` refuses images of more than 89 million pixels as decompression bombs.
"""

_OWN = """## Your own data

The quickest way is [`folder:PATH`](folder.md): images, masks and a table of phrases, no card.

For a release that others should be able to fetch, write a card `datasets/<family>.yaml` (see the ones above) and, if its format is new, an adapter
(`ldznet_bench.datasets.Adapter`, registered by the entry point `ldznet_bench.datasets`). Its `files:` section:

```yaml
files:
  root: MyRelease                     # folder below HOME/datasets
  accept: Sign the form at https://…  # what must be done by hand first; left out if nothing
  items:                              # files that are named one by one
    - path: annotations_test.json
      splits: [test]                  # left out: every split (families with partitions: umd, or umd/test)
      size: 31858432                  # exact bytes, or `about: 31.9 MB`, or neither
      sha256: null                    # 64 hex digits where known
      need: required                  # wanted: go on without it; optional: only with --with PATH
      mirrors:                        # best first
        - https: https://example.org/annotations_test.json
        - drive: 1AbCdEfGhIjKlMnOpQrStUvWxYz      # the id in the share link
        - hub: {repo: owner/name, type: dataset, revision: main, path: annotations_test.json}   # "**/name" finds it in any folder
        - web_archive: {at: "20220413011718", url: "https://dead.example/annotations_test.json"}
        - member: {of: release.zip, path: annotations_test.json}
    - path: release.zip
      role: archive                   # fetched only when a member is needed; kept only with --keep-archives
      mirrors: [{https: https://example.org/release.zip}]
  repos:                              # several files of one Hugging Face repository
    - {repo: owner/name, path: sub/folder, files: [config.json, {name: model.safetensors, about: 603 MB}]}
  images:                             # only those that a split needs
    path: "images/{image_id}.jpg"
    listing: phrasecut                # how the needed ones are listed: phrasecut or refer
    urls: ["{url}", "https://example.org/{image_id}.jpg"]
    archives: [{of: release.zip, path: "{image_id}.jpg"}]
  folder: {drive: 1AbCdEfGhIjKlMnOpQrStUvWxYz, images: 100}    # a Drive folder of any length, taken whole
```
"""


def document() -> str:
    """The whole page, as Markdown."""
    datasets = [dataset_card(name) for name in card_names("datasets")]
    parts = [_INTRODUCTION, "## Datasets\n", _overview(datasets)]
    parts += [_dataset(card) for card in datasets if card.files is not None]
    parts.append(_weights())
    parts.append(_OWN)
    return "\n".join(parts)


def _overview(cards: list[DatasetCard]) -> str:
    lines = ["| name | what | licence |", "|---|---|---|"]
    for card in cards:
        names = ", ".join(f"`{name}`" for name, _ in card.names()) or f"`{card.family}:PATH`"
        lines.append(f"| {names} | {_cell(card.summary)} | {_cell(card.licence)} |")
    return "\n".join(lines) + "\n"


def _dataset(card: DatasetCard) -> str:
    lines = [f"### {card.title}", "", f"{card.summary} Homepage: {card.homepage or 'none'}. Licence: {card.licence}.", "", *_counts(card)]
    if card.traps:
        lines += ["Traps:", "", *(f"- {trap}" for trap in card.traps), ""]
    lines.append(f"Sample ids: {card.sample_id}")
    lines += ["", *_files(card.files)] if card.files else []
    if card.citation:
        lines += ["", "<details><summary>Citation</summary>", "", "```bibtex", card.citation.rstrip(), "```", "", "</details>"]
    return "\n".join(lines) + "\n"


def _counts(card: DatasetCard) -> Iterator[str]:
    columns = ("images", "phrases", "refs", "instances")
    rows = list(card.names())
    shown = [column for column in columns if any(getattr(counts, column) is not None for _, counts in rows)]
    yield f"| split | {' | '.join(shown)} |"
    yield f"|---|{'---:|' * len(shown)}"
    for name, counts in rows:
        yield f"| `{name}` | {' | '.join(_number(counts, column) for column in shown)} |"
        for older in counts.older:
            cells = {"images": older.images, "phrases": older.phrases}
            yield f"| … {older.release} | {' | '.join(f'{cells[column]:,}' if column in cells else '' for column in shown)} |"
    yield ""


def _number(counts: Split, column: str) -> str:
    value = getattr(counts, column)
    return "" if value is None else f"{value:,}"


def _files(files: CardFiles) -> Iterator[str]:
    yield f"By hand: put what you fetch anywhere, packed or not, and `ldznet-bench download NAME --from DIR`. Below `{files.root}/` belong:"
    yield ""
    if files.accept:
        yield f"First: {files.accept}"
        yield ""
    yield "| file | size | where |"
    yield "|---|---:|---|"
    for file in files.files:
        yield f"| `{file.path}`{_asides(file)} | {_size(file)} | {', '.join(_link(mirror) for mirror in file.mirrors)} |"
    if files.folder is not None:
        yield f"| everything of a Drive folder | | [drive.google.com]({files.folder.page}) |"
    images = files.images
    if images is not None:
        ways = [f"`{url}`" for url in images.urls] + [f"in `{member.of}`" for member in images.archives]
        yield f"| `{images.path}` | {images.about or ''} each | {', then '.join(ways)} |"


def _asides(file: FileSpec) -> str:
    said = [f"for {', '.join(file.splits)}"] if file.splits else []
    said += {"required": [], "wanted": ["the rest is of use without it"], "optional": [f"only with `--with {file.path}`"]}[file.need]
    said += ["only for what is taken out of it"] if file.role == "archive" else []
    said += [f"also as `{alias}`" for alias in file.aliases]
    said += [file.note] if file.note else []
    said += [f"sha256 `{file.sha256}`"] if file.sha256 else []
    return f"<br>{_cell('; '.join(said))}" if said else ""


def _size(file: FileSpec) -> str:
    return "" if file.weight is None else format_size(file.weight)


def _link(mirror: Mirror) -> str:
    return f"in `{mirror.member.of}`" if mirror.member is not None else f"[{mirror.label}]({mirror.page.replace(' ', '%20')})"


def _weights() -> str:
    lines = ["## Weights", "", "Below `HOME/weights`; a part that lies in the folder of its own name is found without `--weights`.", ""]
    told: set[str] = set()
    for card in map(model_card, card_names("baselines")):
        lines += _model(card, told)
    return "\n".join(lines) + "\n"


def _model(card: ModelCard, told: set[str]) -> Iterator[str]:
    for part, about in card.parts.items():
        for number, source in enumerate(about.sources):
            files = source.download
            if files is None or files.root in told:
                continue
            told.add(files.root)
            command = f"{card.name}:{source.id}" if number else card.name
            yield f"### {part}: {source.id}"
            yield ""
            yield f"`ldznet-bench download {command}`: {about.what}. Licence: {source.licence}."
            yield f"Note: {source.note}." if source.note else ""
            yield ""
            yield from _files(files)
            yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()


if __name__ == "__main__":
    write_bytes(Path(sys.argv[1]), document().encode())
