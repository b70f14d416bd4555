"""Running probes and keeping their scores, and the validity gate: the same probes on a diffusion model that never learned anything."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldznet_bench.atomic import write_json
from ldznet_bench.errors import RunError
from ldznet_bench.evaluation.identity import differences
from ldznet_bench.training.probe import ProbeOrder, Prober

if TYPE_CHECKING:
    from ldznet_bench.evaluation.loop import Progress

MakeProgress = Callable[[str, int], "Progress"]
MARGIN = 5.0  # points of AP; fixed with the issue, before anything was measured
GATE_STEPS = 1500  # after 300 the miniature's probes had half the AP that they have after 1,500, and hardly differed


def run_probes(order: ProbeOrder, make_progress: MakeProgress) -> dict[str, Any]:
    """Probe what is asked for and not done yet; ``OUTPUT/probe.json`` is written anew after each timestep.

    Returns:
        What ``probe.json`` holds: ``identity``, ``scores`` {diffusion model: {timestep: {block: {ap, miou}}}}, and under ``gate`` the verdict.

    Raises:
        BenchError: as `Prober`, or OUTPUT holds probes of another recipe, weights or data.
    """
    prober = Prober(order)
    path = order.output / "probe.json"
    content = _begun(path, json.loads(json.dumps(prober.identity)))
    for timestep in order.timesteps:
        known = [content["scores"].get(ldm, {}).get(str(timestep), {}) for ldm in order.ldms]
        if all(block in its for its in known for block in prober.blocks):
            continue
        for ldm, scores in prober.probe(timestep, make_progress(f"probes at timestep {timestep}", prober.work())).items():
            content["scores"].setdefault(ldm, {}).setdefault(str(timestep), {}).update(scores)
        write_json(path, content)
    if order.gate:
        content["gate"] = verdict(content["scores"], prober.blocks, order.timesteps)
        write_json(path, content)
    return content


def verdict(scores: Mapping[str, Any], blocks: Sequence[str], timesteps: Sequence[int]) -> dict[str, Any]:
    """The gate: AP of the trained diffusion model's probes less the random one's, in points, averaged over blocks and timesteps, against `MARGIN`.

    The best block's difference is told beside it and decides nothing.
    """
    rows = []
    for timestep in timesteps:
        trained, random = ([100 * scores[ldm][str(timestep)][block]["ap"] for block in blocks] for ldm in ("trained", "random"))
        best = max(range(len(blocks)), key=trained.__getitem__)
        rows.append(
            {
                "timestep": timestep,
                "trained": math.fsum(trained) / len(blocks),
                "random": math.fsum(random) / len(blocks),
                "difference": math.fsum(a - b for a, b in zip(trained, random, strict=True)) / len(blocks),
                "best_block": blocks[best],
                "best_difference": max(trained) - max(random),
            }
        )
    difference = math.fsum(row["difference"] for row in rows) / len(rows)
    passed = difference >= MARGIN
    return {
        "blocks": list(blocks),
        "margin": MARGIN,
        "timesteps": rows,
        "difference": difference,
        "passed": passed,
        "verdict": "gate passed" if passed else "the claim about LDM features is void",
    }


def _begun(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    if not path.is_file():
        return {"identity": identity, "scores": {}}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        differs = differences(identity, content["identity"])
        content["scores"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {error}.", "Remove it to begin anew.") from error
    if differs:
        raise RunError(f"{path} holds other probes: {'; '.join(differs)}.", "Give another --output, or remove that file to begin anew.")
    return content
