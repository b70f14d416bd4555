"""Boxes and masks through the sealed interface, held against transformers' whole passes and processors on seeded random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from make_rivals import write_parts
from rivals import PHRASES, SIZES, count_calls, in_batches, make_pairs, picture
from transformers import (
    AutoTokenizer,
    DetrImageProcessorPil,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
    MMGroundingDinoForObjectDetection,
    OmDetTurboForObjectDetection,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessorPil,
    Sam2Model,
    SamHQModel,
    SamImageProcessorPil,
    SamModel,
    SamProcessor,
)

from ldznet_bench.errors import BenchError, BenchWarning, WeightsError
from ldznet_bench.models.box_detectors import DETECTORS, overlap, suppress
from ldznet_bench.models.box_masks import BOXES_AT_ONCE, MASKERS
from ldznet_bench.models.boxes import CLIPPED, NONE, OUTSIDE, BoxesAndMasks
from ldznet_bench.models.clipseg_pixels import HfPixels
from ldznet_bench.models.load import load_model
from ldznet_bench.models.segmenter import Pair

PAIRS = [(detector, masker) for detector in DETECTORS for masker in MASKERS]
PAIR = Pair("s", "sky", 10, 20, 0, None, None)

pytestmark = pytest.mark.filterwarnings("ignore::ldznet_bench.errors.BenchWarning")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_parts(tmp_path_factory.mktemp("rivals"))


@pytest.fixture(scope="module")
def loaded(parts: dict[str, Path]) -> dict[str, BoxesAndMasks]:
    """Every detector with SAM 2, for tests that leave them as they are."""
    return {detector: load(parts, detector) for detector in DETECTORS}


def load(parts: dict[str, Path], detector: str, masker: str = "sam2", recipe: str = "union", **options: Any) -> BoxesAndMasks:
    segmenter = load_model(f"{detector}/{masker}+{recipe}", weights=parts, **options)
    assert isinstance(segmenter, BoxesAndMasks)
    return segmenter


def whole_dino(folder: Path, name: str, phrase: str, network: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """transformers' own processor, network and post-processing of everything."""
    processor = GroundingDinoProcessor(GroundingDinoImageProcessorPil.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))
    inputs = processor(images=picture(name), text=[[phrase]], return_tensors="pt")
    with torch.no_grad():
        outputs = network.from_pretrained(folder).eval()(**inputs)
    found = processor.post_process_grounded_object_detection(outputs, inputs["input_ids"], threshold=-1.0)[0]
    return found["boxes"], found["scores"]


def whole_owlv2(folder: Path, name: str, phrase: str) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = Owlv2ImageProcessorPil.from_pretrained(folder)
    tokens = AutoTokenizer.from_pretrained(folder)([phrase], padding="max_length", max_length=16, return_tensors="pt")
    image = picture(name)
    with torch.no_grad():
        outputs = Owlv2ForObjectDetection.from_pretrained(folder).eval()(
            pixel_values=pixels(images=image, return_tensors="pt").pixel_values, **tokens
        )
    found = pixels.post_process_object_detection(outputs, threshold=-1.0, target_sizes=[image.size[::-1]])[0]
    return found["boxes"] / torch.tensor(image.size * 2), found["scores"]


def whole_omdet(folder: Path, name: str, phrase: str) -> tuple[torch.Tensor, torch.Tensor]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    one, task = (tokenizer([text], padding="max_length", max_length=77, return_tensors="pt") for text in (phrase, f"Detect {phrase}."))
    pixels = DetrImageProcessorPil.from_pretrained(folder)(images=picture(name), return_tensors="pt").pixel_values
    with torch.no_grad():
        outputs = OmDetTurboForObjectDetection.from_pretrained(folder).eval()(
            pixel_values=pixels,
            classes_input_ids=one["input_ids"],
            classes_attention_mask=one["attention_mask"],
            tasks_input_ids=task["input_ids"],
            tasks_attention_mask=task["attention_mask"],
            classes_structure=torch.tensor([1]),
        )
    x, y, width, height = outputs.decoder_coord_logits[0].unbind(-1)
    return torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1), outputs.decoder_class_logits[0, :, 0].sigmoid()


WHOLE = {
    "grounding-dino": lambda *given: whole_dino(*given, GroundingDinoForObjectDetection),
    "mm-grounding-dino": lambda *given: whole_dino(*given, MMGroundingDinoForObjectDetection),
    "owlv2": whole_owlv2,
    "omdet-turbo": whole_omdet,
}


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("name", ["landscape", "portrait", "square"])
def test_boxes_and_scores_are_those_of_the_whole_pass(detector: str, name: str, parts: dict[str, Path], loaded: dict[str, BoxesAndMasks]) -> None:
    segmenter = loaded[detector]
    ours = [segmenter._detector.boxes(pair.image[0], pair.text) for pair in make_pairs(segmenter, [name], PHRASES[:2])]
    for (boxes, scores), phrase in zip(ours, PHRASES, strict=False):
        their_boxes, their_scores = WHOLE[detector](parts[detector], name, phrase)
        assert torch.equal(scores, their_scores)
        assert torch.allclose(boxes, their_boxes, atol=1e-6, rtol=0)


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_tiny_detectors_decide_something(detector: str, loaded: dict[str, BoxesAndMasks]) -> None:
    segmenter = loaded[detector]
    scores = torch.stack([segmenter._detector.boxes(pair.image[0], pair.text)[1] for pair in make_pairs(segmenter, ["landscape", "square"])])
    assert float(scores.min()) < segmenter._detector.threshold < float(scores.max())
    assert float(scores.std(0).max()) > 1e-5


def whole_masks(masker: str, folder: Path, name: str, boxes: torch.Tensor) -> torch.Tensor:
    """transformers' own processing of boxes and masks, all boxes at once; SAM 2's processor needs torchvision, so its two lines stand here."""
    image = picture(name)
    with torch.no_grad():
        if masker == "sam2":
            scaled = boxes.double() * torch.tensor([64 / image.width, 64 / image.height] * 2, dtype=torch.float64)
            pixels = HfPixels.from_folder(folder)(image)
            masks = Sam2Model.from_pretrained(folder).eval()(pixel_values=pixels, input_boxes=scaled[None].float(), multimask_output=False).pred_masks
            return torch.nn.functional.interpolate(masks[0], image.size[::-1], mode="bilinear", align_corners=False)[:, 0] > 0
        processor = SamProcessor(SamImageProcessorPil.from_pretrained(folder))
        inputs = processor(images=image, input_boxes=[boxes.tolist()], return_tensors="pt")
        network = (SamHQModel if masker == "sam-hq" else SamModel).from_pretrained(folder).eval()
        masks = network(pixel_values=inputs["pixel_values"], input_boxes=inputs["input_boxes"], multimask_output=False).pred_masks
        return processor.post_process_masks(masks, inputs["original_sizes"], inputs["reshaped_input_sizes"])[0][:, 0]


@pytest.mark.parametrize("masker", MASKERS)
@pytest.mark.parametrize("name", ["landscape", "portrait", "square"])
def test_masks_are_those_of_the_whole_pass(masker: str, name: str, parts: dict[str, Path]) -> None:
    segmenter = load(parts, "owlv2", masker)
    width, height = SIZES[name]
    boxes = torch.tensor([[1.0, 2.5, width / 2, height - 3.25], [0, 0, width, height], [width / 3, height / 3, width / 2, height / 2]])
    embedded = segmenter._masker.image(picture(name))
    theirs = whole_masks(masker, parts[masker], name, boxes)
    for number in range(3):
        ours = segmenter._masker.union(embedded, boxes[number : number + 1], (height, width))
        assert float((ours != theirs[number]).float().mean()) <= 0.001
    assert float((segmenter._masker.union(embedded, boxes, (height, width)) != theirs.any(0)).float().mean()) <= 0.001
    assert 0 < float(theirs.float().mean()) < 1


def test_the_image_is_left_as_it_was_when_boxes_are_decoded(parts: dict[str, Path]) -> None:
    """SAM 2's forward pass changes the list of levels that it is given."""
    for masker in MASKERS:
        segmenter = load(parts, "owlv2", masker)
        embedded = segmenter._masker.image(picture("landscape"))
        box = torch.tensor([[3.0, 4, 80, 70]])
        first, again = (segmenter._masker.logits(embedded, box, (90, 160)) for _ in range(2))
        assert torch.equal(first, again)


def test_many_boxes_are_taken_in_chunks(parts: dict[str, Path]) -> None:
    segmenter = load(parts, "owlv2")
    embedded = segmenter._masker.image(picture("square"))
    boxes = torch.tensor([[float(x), 0, float(x) + 8, 40] for x in range(BOXES_AT_ONCE + 5)])
    union = segmenter._masker.union(embedded, boxes, (64, 64))
    each = torch.stack([segmenter._masker.union(embedded, box[None], (64, 64)) for box in boxes]).any(0)
    assert float((union != each).float().mean()) <= 0.001


@pytest.mark.parametrize(("detector", "masker"), PAIRS)
def test_every_pair_runs_and_encodes_images_once_and_phrases_once(detector: str, masker: str, parts: dict[str, Path]) -> None:
    segmenter = load(parts, detector, masker)
    assert (segmenter.name, segmenter.binary, segmenter.micro_batch) == (f"{detector}/{masker}+union", True, 1)
    detect, mask = segmenter._detector, segmenter._masker
    seen = count_calls(detect._network.owlv2.vision_model if detector == "owlv2" else detect._backbone)
    embedded = count_calls(mask._network.vision_encoder)
    maps = in_batches(segmenter, make_pairs(segmenter, ["landscape", "portrait"]))
    assert (len(seen), len(embedded)) == (2, 2)
    assert [tuple(scores.shape) for scores in maps] == [(90, 160)] * len(PHRASES) + [(140, 61)] * len(PHRASES)
    assert all(set(scores.unique().tolist()) <= {0.0, 1.0} for scores in maps)


@pytest.mark.parametrize("detector", ["grounding-dino", "owlv2", "omdet-turbo"])
def test_texts_are_encoded_once(detector: str, parts: dict[str, Path]) -> None:
    segmenter = load(parts, detector)
    detect = segmenter._detector
    text = {"grounding-dino": "_text_backbone", "owlv2": "_network.owlv2.text_model", "omdet-turbo": "_network.language_backbone.model"}[detector]
    module: Any = detect
    for name in text.split("."):
        module = getattr(module, name)
    calls = count_calls(module)
    in_batches(segmenter, make_pairs(segmenter, ["landscape", "portrait"], ("sky", "wooden table")))
    assert len(calls) == (4 if detector == "omdet-turbo" else 2)  # OmDet-Turbo reads the class and the task


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_map_depends_on_its_pair_alone(detector: str, parts: dict[str, Path], loaded: dict[str, BoxesAndMasks]) -> None:
    pairs = make_pairs(loaded[detector], ["landscape", "square"])
    forth, back = in_batches(loaded[detector], pairs), in_batches(loaded[detector], pairs[::-1])[::-1]
    assert all(torch.equal(a, b) for a, b in zip(forth, back, strict=True))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize(
    ("detector", "masker"), [("grounding-dino", "sam"), ("mm-grounding-dino", "sam-hq"), ("owlv2", "sam2"), ("omdet-turbo", "sam2")]
)
def test_half_precision_runs(detector: str, masker: str, precision: str, parts: dict[str, Path]) -> None:
    segmenter = load(parts, detector, masker, precision=precision)
    maps = in_batches(segmenter, make_pairs(segmenter, ["landscape"], PHRASES[:2]))
    assert [scores.dtype for scores in maps] == [torch.float32] * 2


def found(*boxes: tuple[float, ...], scores: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(scores, dtype=torch.float32)


def test_the_recipes_choose_boxes(parts: dict[str, Path]) -> None:
    boxes = found((0, 0, 1, 1), (0.1, 0.1, 0.5, 0.5), (0.2, 0.2, 0.4, 0.4), scores=(0.3, 0.31, 0.9))
    union, best = load(parts, "grounding-dino"), load(parts, "grounding-dino", recipe="top1")
    assert union.chosen(boxes, PAIR).tolist() == boxes[0][[2, 1]].tolist()
    assert best.chosen(boxes, PAIR).tolist() == boxes[0][2:].tolist()
    weak = found((0, 0, 1, 1), (0, 0, 0.5, 0.5), scores=(0.01, 0.02))
    assert len(union.chosen(weak, PAIR)) == 0
    assert best.chosen(weak, PAIR).tolist() == weak[0][1:].tolist()


def test_only_omdet_turbo_suppresses_what_overlaps(parts: dict[str, Path]) -> None:
    boxes = found((0, 0, 1, 1), (0, 0, 1, 0.9), (0, 0, 0.3, 0.3), scores=(0.8, 0.9, 0.7))
    assert len(load(parts, "omdet-turbo").chosen(boxes, PAIR)) == 2
    assert len(load(parts, "owlv2").chosen(boxes, PAIR)) == 3


def test_boxes_beyond_the_image_are_clipped_or_left_out_and_counted(parts: dict[str, Path]) -> None:
    segmenter = load(parts, "owlv2")
    boxes = torch.tensor([[0.5, 0.5, 1, 1], [-0.2, 0, 0.5, 1.2], [1.1, 0, 1.4, 1], [0, -0.5, 1, 0], [0.3, 0.1, 0.3, 0.9], [-1e-6, 0, 1, 1.000001]])
    with pytest.warns(BenchWarning) as said:
        inside = segmenter.inside(boxes, (10, 20), PAIR)
    assert inside.tolist() == [[10, 5, 20, 10], [0, 0, 10, 10], [0, 0, 20, 10]]
    assert segmenter.notes == {CLIPPED: 1, OUTSIDE: 3}
    assert [str(warning.message) for warning in said] == [
        f"owlv2/sam2+union: {CLIPPED} (first: s); this is said once.",
        f"owlv2/sam2+union: {OUTSIDE} (first: s); this is said once.",
    ]


def test_no_box_is_an_empty_mask_that_is_counted(parts: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = load(parts, "grounding-dino")
    monkeypatch.setattr(type(segmenter._detector), "threshold", 1.1)
    maps = in_batches(segmenter, make_pairs(segmenter, ["landscape"]))
    assert not any(scores.any() for scores in maps)
    assert segmenter.notes == {NONE: len(PHRASES)}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_of_a_detector_is_an_error_with_the_sample(bad: float, parts: dict[str, Path]) -> None:
    with pytest.raises(BenchError, match=r"NaN or infinite boxes or scores for sample 's'. Try --precision fp32"):
        load(parts, "owlv2").chosen(found((0, 0, 1, bad), scores=(0.5,)), PAIR)


@pytest.mark.parametrize("detector", DETECTORS)
def test_long_phrases_are_cut_and_counted(detector: str, parts: dict[str, Path]) -> None:
    segmenter = load(parts, detector)
    limit = segmenter._detector.limit
    with pytest.warns(BenchWarning, match=f"phrases of more than {limit} tokens were cut"):
        (text,) = segmenter.encode_text([segmenter.prompt("something quite long " * 60, 0)])
    (pair,) = make_pairs(segmenter, ["square"], ("sky",))
    segmenter.predict([Pair("long", "long", 64, 64, 0, pair.image, text)])


def test_groundingdino_reads_lower_case_and_a_full_stop(loaded: dict[str, BoxesAndMasks]) -> None:
    assert [loaded["grounding-dino"].prompt(phrase, 0) for phrase in (" A Red Car", "sky.", "")] == ["a red car.", "sky.", "."]
    assert loaded["owlv2"].prompt("A Red Car", 0) == "A Red Car"


def boxes_of(numbers: list[int]) -> torch.Tensor:
    values = torch.tensor(numbers, dtype=torch.float32).reshape(-1, 2, 2)
    return torch.cat([values.amin(1), values.amax(1)], -1)


def suppressed_slowly(boxes: list[list[float]], scores: list[float], threshold: float) -> list[int]:
    """One box after the other, in Python's own numbers."""

    def iou(a: list[float], b: list[float]) -> float:
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        shared = max(width, 0) * max(height, 0)
        both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
        return shared / both if both else 0

    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda index: -scores[index]):
        if all(iou(boxes[index], boxes[other]) <= threshold for other in kept):
            kept.append(index)
    return kept


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 4, st.integers(0, 4)), max_size=12), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_suppression_is_the_slow_one(items: list[tuple[int, ...]], threshold: float) -> None:
    boxes = boxes_of([number for item in items for number in item[:4]]) if items else torch.zeros(0, 4)
    scores = [float(item[4]) for item in items]
    # The threshold is compared in float32, as the network's boxes are.
    limit = float(torch.tensor(threshold))
    assert suppress(boxes, torch.tensor(scores), limit).tolist() == suppressed_slowly(boxes.tolist(), scores, limit)


def test_overlap_by_hand() -> None:
    assert overlap(torch.tensor([0.0, 0, 2, 2]), torch.tensor([[1.0, 0, 3, 2], [5, 5, 6, 6], [0, 0, 2, 2]])).tolist() == pytest.approx([1 / 3, 0, 1])


def test_a_micro_batch_is_refused_with_the_reason(parts: dict[str, Path]) -> None:
    with pytest.raises(BenchError, match=r"takes pairs one at a time .* --micro-batch is 4. Leave --micro-batch out"):
        load(parts, "owlv2", micro_batch=4)
    assert load(parts, "owlv2", micro_batch=1).micro_batch == 1


def test_without_a_variant_the_pairs_are_named(parts: dict[str, Path]) -> None:
    with pytest.raises(BenchError, match=r"owlv2 has no default variant. Ask for one by name: owlv2/sam, owlv2/sam2, owlv2/sam-hq"):
        load_model("owlv2", weights=parts)


def test_both_folders_are_asked_for(parts: dict[str, Path]) -> None:
    with pytest.raises(WeightsError, match=r"needs weights: --weights sam2=DIR.*`ldznet-bench download owlv2/sam2` fetches it"):
        load_model("owlv2/sam2", weights={"owlv2": parts["owlv2"]})


def test_another_model_in_a_part_is_refused(parts: dict[str, Path]) -> None:
    with pytest.raises(WeightsError, match="is for a model of type 'sam', not 'sam2' or 'sam2_video'"):
        load({**parts, "sam2": parts["sam"]}, "owlv2")
    with pytest.raises(WeightsError, match="is for a model of type 'mm-grounding-dino', not 'grounding-dino'"):
        load({**parts, "grounding-dino": parts["mm-grounding-dino"]}, "grounding-dino")


def test_weights_of_either_part_change_the_identity(parts: dict[str, Path], tmp_path: Path) -> None:
    own = shutil.copytree(parts["sam2"], tmp_path / "sam2")
    values = json.loads((own / "preprocessor_config.json").read_text())
    (own / "preprocessor_config.json").write_text(json.dumps({**values, "resample": 3}))
    assert load({**parts, "sam2": own}, "owlv2").weights != load(parts, "owlv2").weights


def test_a_backbone_of_timm_says_that_it_needs_timm(parts: dict[str, Path], tmp_path: Path) -> None:
    own = shutil.copytree(parts["omdet-turbo"], tmp_path / "omdet")
    config = json.loads((own / "config.json").read_text())
    timm = {"backbone": "swin_tiny_patch4_window7_224", "use_timm_backbone": True, "backbone_config": None}
    (own / "config.json").write_text(json.dumps({**config, **timm}))
    with pytest.raises(WeightsError, match=r"needs a library that is not here: .*timm"):
        load({**parts, "omdet-turbo": own}, "omdet-turbo")


def test_sam2s_pixels_are_within_one_grey_level_of_the_kernel_that_the_published_processor_calls(parts: dict[str, Path]) -> None:
    pixels = HfPixels.from_folder(parts["sam2"])
    assert pixels.std is not None
    for name in ("landscape", "portrait"):
        image = torch.from_numpy(np.array(picture(name))).permute(2, 0, 1)[None]
        theirs = torch.nn.functional.interpolate(image, (64, 64), mode="bilinear", align_corners=False, antialias=True)
        mean, std = torch.tensor(pixels.mean)[:, None, None], torch.tensor(pixels.std)[:, None, None]
        assert float(((pixels(picture(name)) - (theirs / 255 - mean) / std) * std).abs().max()) <= 1.01 / 255
