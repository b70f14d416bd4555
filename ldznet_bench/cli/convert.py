"""``ldznet-bench convert``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ldznet_bench.cli import options

if TYPE_CHECKING:
    from ldznet_bench.models.checkpoints import Report
    from ldznet_bench.models.weight_folders import Bundle

_PATH = click.Path(path_type=Path)


@click.command(context_settings={"max_content_width": 110})
@click.argument("source", type=_PATH)
@click.argument("target", type=_PATH, required=False)
@click.option("--dry-run", is_flag=True, help="Say where every tensor would go, and write nothing.")
@click.option("--ldm", type=click.Choice(["non-ema", "ema"]), default="non-ema", show_default=True, help="Which weights of the diffusion UNet.")
@click.option("--segmenter", type=click.Choice(["ema", "raw"]), default="ema", show_default=True, help="Which weights of LD-ZNet's UNet.")
@click.option("--tokenizer", type=_PATH, metavar="DIR", help="CLIP's tokenizer, to go with a single-file checkpoint.")
@click.option("--architecture", type=_PATH, metavar="FILE", help="Sizes of a checkpoint that is not full size, as JSON.")
@click.option("--clip", type=_PATH, metavar="DIR", help="CLIP ViT-B/16, to go with a decoder of CLIPSeg's authors.")
@options.as_json
def command(
    source: Path,
    target: Path | None,
    dry_run: bool,
    ldm: str,
    segmenter: str,
    tokenizer: Path | None,
    architecture: Path | None,
    clip: Path | None,
    as_json: bool,
) -> int:
    """Turn a published checkpoint into a folder of safetensors with a config and a manifest.

    SOURCE is LD-ZNet's Lightning checkpoint, Stable Diffusion as a single file or a repository, a folder that this command wrote, or the decoder
    that CLIPSeg's authors published (with --clip; the result is a CLIPSeg folder as transformers has it). No code in it is run. Every tensor is
    used, set aside for a stated reason, or listed; with anything left over nothing is written and the exit code is 2.

    \b
    Examples:
      ldznet-bench convert LDZNet_txt2mask.ckpt --dry-run
      ldznet-bench convert LDZNet_txt2mask.ckpt weights/ldznet
      ldznet-bench convert sd-v1-4-full-ema.ckpt weights/sd --tokenizer clip-vit-large-patch14
      ldznet-bench convert rd64-uni-refined.pth weights/clipseg --clip clip-vit-base-patch16
    """
    from ldznet_bench.atomic import dump_json
    from ldznet_bench.errors import BenchError, WeightsError
    from ldznet_bench.models.checkpoints import Architecture
    from ldznet_bench.models.clipseg_authors import holds_decoder
    from ldznet_bench.models.weight_folders import convert, open_bundle, read_json, tokenizer_folder

    if target is None and not dry_run:
        raise BenchError("convert was given no folder to write.", "Name one behind the source, or add --dry-run.")
    if holds_decoder(source):
        return _convert_clipseg(source, clip, None if dry_run else target, as_json=as_json)
    tokens = None if tokenizer is None else tokenizer_folder(tokenizer)
    if tokenizer is not None and tokens is None:
        raise WeightsError(f"{tokenizer} holds no tokenizer.", "Expected vocab.json and merges.txt, or tokenizer.json.")
    sizes = None if architecture is None else Architecture.from_json(read_json(architecture))
    bundle = open_bundle(source, ldm=ldm, segmenter=segmenter, architecture=sizes)  # type: ignore[arg-type]  # click checked the choices
    manifest = None
    if not dry_run and target is not None:
        manifest = convert(bundle, target, tokens)
    click.echo(dump_json(_as_json(bundle, manifest)) if as_json else _text(bundle, target if manifest else None), nl=False)
    return 0 if bundle.report is None or bundle.report.complete else 2


def _as_json(bundle: Bundle, manifest: dict[str, Any] | None) -> dict[str, Any]:
    report = None if bundle.report is None else bundle.report.to_json()
    return {"source": str(bundle.where), "report": report, "placeholders": list(bundle.placeholders), "manifest": manifest}


def _text(bundle: Bundle, written: Path | None) -> str:
    lines = [f"{bundle.where}: {bundle.report.kind if bundle.report else 'folder'}"]
    for name, part in bundle.parts.items():
        parameters = sum(value.numel() for value in part.tensors.values())
        lines.append(f"  {name:<13} {len(part.tensors):>5} tensors {parameters:>13,} parameters  {part.label}".rstrip())
    if bundle.report is not None:
        lines += _where(bundle.report)
    if bundle.placeholders:
        lines.append(f"  named in its pickle, not imported: {', '.join(bundle.placeholders)}")
    if written is not None:
        lines.append(f"wrote {written}")
    return "\n".join(lines) + "\n"


def _convert_clipseg(source: Path, clip: Path | None, target: Path | None, *, as_json: bool) -> int:
    from ldznet_bench.atomic import dump_json
    from ldznet_bench.errors import WeightsError
    from ldznet_bench.models.clipseg_authors import convert_authors, report_of

    report = report_of(source, clip)
    if target is not None:
        report.refuse(source)
        if clip is None:
            raise WeightsError(f"{source} holds CLIPSeg's decoder alone.", "Add --clip DIR, a folder of openai/clip-vit-base-patch16.")
        convert_authors(source, clip, target)
    if as_json:
        click.echo(dump_json({"source": str(source), "report": report.to_json(), "written": None if target is None else str(target)}), nl=False)
    else:
        lines = [f"{source}: {report.kind}", *(f"  {part:<13} {count:>5} tensors" for part, count in report.used.items()), *_where(report)]
        click.echo("\n".join([*lines, *([] if target is None else [f"wrote {target}"])]))
    return 0 if report.complete else 2


def _where(report: Report) -> list[str]:
    """A line for everything that was not used, and one for whether that is all."""
    left = report.problems()
    return [
        *(f"  set aside     {len(names):>5} tensors: {reason}" for reason, names in report.set_aside.items()),
        *(f"  not in this file: {part}" for part in report.absent),
        *(f"  {problem}" for problem in left),
        f"  {len(left)} tensors do not fit" if left else "  nothing left over",
    ]
