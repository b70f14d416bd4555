"""What to tell a person when files could not be had: which, why, and how to get them by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ldznet_bench.acquisition.failures import DownloadError
from ldznet_bench.acquisition.fetch import Refusal
from ldznet_bench.acquisition.specs import FileSpec, FolderSpec, Mirror, format_size
from ldznet_bench.acquisition.targets import DatasetTarget, Target
from ldznet_bench.datasets.counts import Found, count_table, differences
from ldznet_bench.errors import DataError

_SHOWN = 5


def download_refusal(target: Target, refusals: Sequence[Refusal]) -> DownloadError:
    """Files that no mirror gave: each with every mirror's answer in one line, and the way by hand."""
    lines = [f"{len(refusals)} of the files of {target.name} could not be had from any mirror.", ""]
    told = [refusal for refusal in refusals if refusal.reasons] or list(refusals)
    for refusal in told[:_SHOWN]:
        lines.append(f"  {refusal.job.spec.path}")
        lines += [f"    {mirror.label}: {reason}" for mirror, reason in refusal.reasons]
    if len(refusals) > _SHOWN:
        lines.append(f"  … and {len(refusals) - _SHOWN} more")
    if target.files.accept:
        lines += ["", f"First: {target.files.accept}"]
    lines += ["", "By hand:"]
    for number, refusal in enumerate(told[:_SHOWN], 1):
        lines.append(f"  {number}. {_by_hand(target, refusal.job.spec)}")
    number = min(len(told), _SHOWN) + 1
    lines.append(f"  {number}. ldznet-bench download {target.name} --from FOLDER   (the folder with what you saved; archives may stay packed)")
    if any(mirror.label == "huggingface.co" for refusal in told for mirror, _ in refusal.reasons):
        lines.append("The Hugging Face Hub also takes `hf auth login` or the variable HF_TOKEN, and HF_ENDPOINT for a mirror of it.")
    return DownloadError("\n".join(lines), "\nWhat has arrived is kept: the same command goes on from there.")


def folder_refusal(target: DatasetTarget, folder: FolderSpec, reason: str) -> DownloadError:
    """A Drive folder that could not be listed."""
    return DownloadError(
        f"the Drive folder of {target.name} could not be listed.\n    drive.google.com: {reason}\n\nBy hand:\n"
        f"  1. open {folder.page} in a browser, select everything and download it (Drive packs it into one or more zips)\n"
        f"  2. ldznet-bench download {target.name} --from FOLDER   (the folder with the zips; they may stay packed)",
        "",
    )


def count_refusal(target: DatasetTarget, split: str, found: Found, files: int, left: Path | None) -> DataError:
    """A release whose counts are not the card's, as a table.

    Args:
        target: what was asked for.
        split: of it.
        found: what the annotations hold.
        files: image files that are at hand.
        left: where the files still are; None if they were taken away again.
    """
    expected = target.expected(split)
    _, older = differences(expected, found)
    rows = [("", "expected", "found")]
    rows += [(what, _number(wanted), _number(got)) for what, wanted, got in count_table(expected, found)]
    rows.append(("image files", _number(expected.images if expected else None), f"{files:,}"))
    table = "\n".join(f"  {what:<12}{wanted:>10}{got:>10}" for what, wanted, got in rows)
    again = "Fetch the release again (another --mirror?)"
    if left is not None:
        again = f"It is in {left}: take it away with `ldznet-bench remove {target.card.family}` and fetch it again (another --mirror?)"
    which = f" It is the release {older}." if older else ""
    return DataError(
        f"{target.full_name(split)} is not what its card describes, so it is refused.{which}\n\n{table}\n\n",
        f"{again}, state these counts in a card of your own (--card FILE), or accept it with --allow-partial: its numbers are then stamped "
        "partial and stay out of leaderboards.",
    )


def _by_hand(target: Target, spec: FileSpec) -> str:
    places = [_place(target, mirror) for mirror in spec.mirrors]
    where = " or ".join(dict.fromkeys(place for place in places if place))
    size = f" ({format_size(spec.weight)})" if spec.weight else ""
    return f"open {where} and save it as {spec.name}{size}"


def _place(target: Target, mirror: Mirror) -> str:
    if mirror.member is None:
        return mirror.page
    archive = target.files.file(mirror.member.of)
    return f"{archive.mirrors[0].page} (the archive with {mirror.member.path} in it)"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
