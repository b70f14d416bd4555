"""Florence-2's referring expression segmentation through transformers' ``Florence2ForConditionalGeneration``: polygons written as text.

The image tower runs once per image; each phrase is read with it by the encoder, and the decoder writes location tokens, the most likely one at a
time (greedy; the authors' examples search with three beams, which is three times the work and the same network). The polygons are filled by
pycocotools at the image's size: 0 and 1, so AP does not apply.

What the network writes is read strictly (`read_polygons`): every deviation from ``<loc_x><loc_y>…<sep>…`` is named and counted in the notes.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPImageProcessorPil, Florence2ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from ldznet_bench.errors import DataError
from ldznet_bench.masks.geometry import Polygon
from ldznet_bench.masks.rasterise import rasterise
from ldznet_bench.models.devices import inference, pick_dtype
from ldznet_bench.models.pretrained import Notes, load_pixels, open_part
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter

if TYPE_CHECKING:
    from ldznet_bench.models.load import LoadRequest

PROMPT = "Locate {} in the image with mask"  # what transformers' processor makes of <REFERRING_EXPRESSION_SEGMENTATION>
BINS = 1000  # locations are thousandths of the image's width and height
DEFAULT_MICRO_BATCH = {"cpu": 1, "cuda": 8}
# The authors' examples; taken where generation_config.json states none.
MAX_NEW_TOKENS = 1024
COUNT = "samples whose polygon string did not parse as a whole"
_NAMED = 20  # samples that are named in the notes one by one

_TOKEN = re.compile(r"<loc_(?P<bin>\d{1,3})>|(?P<end><sep>|<poly>|</poly>)|(?P<other>(?:(?!<loc_\d{1,3}>|<sep>|</?poly>).)+)", re.DOTALL)
_FRAME = re.compile(r"<s>|</s>|<pad>")

Ring = list[tuple[float, float]]


class Florence2(Segmenter):
    """Florence-2 as a segmenter of binary masks."""

    binary = True

    def __init__(
        self,
        name: str,
        network: Any,  # noqa: ANN401 - transformers is untyped
        tokenizer: Any,  # noqa: ANN401 - transformers is untyped
        pixels: Any,  # noqa: ANN401 - transformers is untyped
        *,
        weights: str,
        device: torch.device,
        precision: str = "fp32",
        micro_batch: int | None = None,
    ) -> None:
        self.name = name
        self.weights = weights
        self.device = device.type
        self.precision = precision
        self.micro_batch: int = micro_batch or DEFAULT_MICRO_BATCH[device.type]
        self._generation = copy.deepcopy(network.generation_config)
        longest = self._generation.max_new_tokens or MAX_NEW_TOKENS
        self._generation.update(do_sample=False, num_beams=1, early_stopping=False, length_penalty=1.0, max_new_tokens=longest, max_length=None)
        self.recipe = {"prompt": PROMPT, "beams": 1, "max_new_tokens": longest, "fill": "coco"}
        self.notes = self._notes = Notes(name)
        self._device = device
        self._dtype = pick_dtype(precision)
        self._network = network
        self._tokenizer = tokenizer
        self._pixels = pixels

    def pixels(self, image: ImageInput) -> Any:  # noqa: ANN401 - PIL's image
        """The decoded image; what else is done to it is the network's own processor's."""
        return image.rgb

    def encode_image(self, images: Sequence[ImageInput]) -> list[tuple[Tensor, tuple[int, int]]]:
        """The image's tokens, (1, n, C), and its (rows, columns)."""
        with inference(self.name, self.micro_batch):
            return [(self._image(image), (image.rgb.height, image.rgb.width)) for image in images]

    def _image(self, image: ImageInput) -> Tensor:
        values = self._pixels(images=[image.rgb], return_tensors="pt")["pixel_values"].to(self._device, self._dtype)
        tokens: Tensor = self._network.get_image_features(pixel_values=values, return_dict=True).pooler_output
        return tokens

    def encode_text(self, prompts: Sequence[str]) -> list[Tensor]:
        """The embedded prompt, (1, n, C)."""
        with inference(self.name, self.micro_batch):
            return [self._network.get_input_embeddings()(self._tokens(prompt)) for prompt in prompts]

    def _tokens(self, phrase: str) -> Tensor:
        """Begin, prompt, end; cut before the end where the encoder has no positions left."""
        config = self._network.config.text_config
        text = self._tokenizer(PROMPT.format(phrase.strip()), add_special_tokens=False, verbose=False)["input_ids"]
        room = config.max_position_embeddings - self._image_tokens() - 2
        if len(text) > room:
            self._notes.add(f"prompts of more than {room} tokens were cut to {room}", phrase)
        return torch.tensor([[config.bos_token_id, *text[:room], config.eos_token_id]], device=self._device)

    def _image_tokens(self) -> int:
        """As many tokens as the image processor's side asks for: one per patch of the last stage, and their mean."""
        strides = int(np.prod(self._network.config.vision_config.patch_stride))
        size = self._pixels.crop_size if self._pixels.do_center_crop else self._pixels.size
        return -(-int(size["height"]) // strides) * -(-int(size["width"]) // strides) + 1

    def decode(self, pairs: Sequence[Pair]) -> list[Tensor]:
        """Float32 0 and 1 at the image's size."""
        if not pairs:
            return []
        with inference(self.name, self.micro_batch):
            return [self._mask(text, pair) for text, pair in zip(self.write(pairs), pairs, strict=True)]

    def write(self, pairs: Sequence[Pair]) -> list[str]:
        """What the network writes for each pair, all in one batch; prompts are padded at the right, and masked there."""
        inputs = [torch.cat([pair.image[0], pair.text], dim=1)[0] for pair in pairs]
        embedded = torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(one), dtype=torch.long, device=self._device) for one in inputs], batch_first=True)
        encoded = self._network.model.get_encoder()(inputs_embeds=embedded, attention_mask=mask, return_dict=True).last_hidden_state
        ids = self._network.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded), attention_mask=mask, generation_config=self._generation
        )
        return ["".join(self._tokenizer.convert_ids_to_tokens(row.tolist())) for row in ids]

    def _mask(self, text: str, pair: Pair) -> Tensor:
        size = pair.image[1]
        rings, problems = read_polygons(text, size)
        mask = np.zeros(size, dtype=bool)
        for ring in rings:
            try:
                mask |= rasterise([Polygon(np.array(ring))], size[0], size[1], "coco")
            except DataError as error:
                problems.append(f"a polygon that cannot be filled ({error.what})")
        if problems:
            self._say(pair.sample_id, problems)
        return torch.from_numpy(mask).float()

    def _say(self, sample_id: str, problems: Sequence[str]) -> None:
        seen = self._notes.get(COUNT, 0)
        self._notes.add(COUNT, sample_id, f"{sample_id}: {problems[0]}")
        if seen < self._notes[COUNT] <= _NAMED:
            self._notes[f"sample {sample_id!r}: {'; '.join(dict.fromkeys(problems))}"] = 1


def read_polygons(text: str, size: tuple[int, int]) -> tuple[list[Ring], list[str]]:
    """The polygons of a string of location tokens.

    The string is polygons with ``<sep>`` between them, in ``<poly>`` and ``</poly>`` or not; a polygon is pairs of ``<loc_N>``, x before y, N from
    0 to 999, at least three pairs. ``<s>``, ``</s>`` and ``<pad>`` frame it. What deviates is met so, and named:

    - text in a polygon, or between polygons: that polygon is left out;
    - a location without its partner (a string that was cut off): that location is left out, as the authors do;
    - under three points: that polygon is left out;
    - no polygon at all: the mask is empty.

    Args:
        text: what was written.
        size: rows and columns of the image.

    Returns:
        Polygons as (x, y) in pixels, the middle of a bin (transformers cuts it to whole pixels, the authors do not), and what was wrong, in words;
        nothing for a string that parses.
    """
    rows, columns = size
    rings: list[Ring] = []
    problems: list[str] = []
    for bins, foreign in _pieces(_FRAME.sub("", text)):
        if foreign:
            problems.append(f"text {foreign[:40]!r} among the locations")
            continue
        if len(bins) % 2:
            problems.append("a location without its partner")
        points = list(zip(bins[0::2], bins[1::2], strict=False))
        if len(points) < 3:
            problems.append("a polygon of under three points")
            continue
        rings.append([((x + 0.5) * columns / BINS, (y + 0.5) * rows / BINS) for x, y in points])
    if not rings:
        problems.append("no polygon")
    return rings, problems


def _pieces(text: str) -> list[tuple[list[int], str]]:
    """The bins between separators, and the text that stands among them; pieces without anything are left out."""
    pieces: list[tuple[list[int], str]] = [([], "")]
    for match in _TOKEN.finditer(text):
        bins, foreign = pieces[-1]
        if match["bin"] is not None:
            bins.append(int(match["bin"]))
        elif match["end"] is not None:
            pieces.append(([], ""))
        else:
            pieces[-1] = (bins, foreign or match["other"])
    return [(bins, foreign) for bins, foreign in pieces if bins or foreign.strip()]


def load(request: LoadRequest) -> Florence2:
    """The factory of ``baselines/florence2.yaml``.

    Raises:
        WeightsError: the folder lacks a file, or holds weights that are damaged or of another network.
        BenchError: unknown device or precision.
    """
    opened = open_part(request, "florence2", Florence2ForConditionalGeneration, ("florence2",))
    pixels = load_pixels(CLIPImageProcessorPil, opened.folder)
    return Florence2(str(request.name), opened.network, opened.tokenizer, pixels, **opened.options)
