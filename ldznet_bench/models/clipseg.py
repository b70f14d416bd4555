"""CLIPSeg through transformers' ``CLIPSegForImageSegmentation``, with the image tower run once per image instead of once per phrase.

The network is transformers' own and so are its numbers: with `micro_batch` 1 logits equal those of its forward bit for bit (tests hold
this); with more, PyTorch sums in another order and they agree to 1e-4 of their standard deviation. What is saved per phrase is the ViT-B/16
tower (1.2 s of the 1.25 s that one pair takes on one CPU core) and, per image, the two tower layers above the last one that the decoder reads.

Bits also depend on the number of threads (``OMP_NUM_THREADS``, recorded as provenance): matrix products are split among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import CLIPSegForImageSegmentation

from ldznet_bench.models.clipseg_authors import AUTHORS, CLIP, read_authors
from ldznet_bench.models.clipseg_folder import read_folder
from ldznet_bench.models.clipseg_pixels import HfPixels, PaperPixels
from ldznet_bench.models.devices import inference, pick_device, pick_dtype
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter
from ldznet_bench.models.weights import hash_files

if TYPE_CHECKING:
    from ldznet_bench.models.load import LoadRequest

# Pairs per decoder call. On a CPU one pair at a time is the fastest (one core: 19 ms per pair alone, 27 ms in eights, whose activations leave
# the cache), wastes nothing on padding, and makes a map's bits depend on its pair alone. A GPU is starved by one pair of 485 tokens of width 64.
DEFAULT_MICRO_BATCH = {"cpu": 1, "cuda": 16}

Activations = tuple[Tensor, ...]


class ClipSeg(Segmenter):
    """CLIPSeg as a segmenter.

    Attributes:
        notes: what should be said once per run, in words, with how often it happened (distinct prompts).
    """

    output = "logits"

    def __init__(
        self,
        name: str,
        network: ClipSegNetwork,
        tokenizer: Any,  # noqa: ANN401 - transformers is untyped
        pixels: HfPixels | PaperPixels,
        *,
        weights: str,
        device: torch.device,
        precision: str = "fp32",
        micro_batch: int | None = None,
    ) -> None:
        self.name = name
        self.weights = weights
        self.recipe = {"pixels": pixels.describe(), "prompt": "{}", "max_tokens": network.max_tokens}
        self.device = device.type
        self.precision = precision
        self.micro_batch: int = micro_batch or DEFAULT_MICRO_BATCH[device.type]
        self.notes: dict[str, int] = {}
        self._device = device
        self._network = network.to(device=device, dtype=pick_dtype(precision))
        self._tokenizer = tokenizer
        self._pixels = pixels

    def pixels(self, image: ImageInput) -> Tensor:
        """Float32 (1, 3, size, size), on the processor."""
        return self._pixels(image.rgb)

    def networks(self) -> Sequence[nn.Module]:
        """The image tower, the text encoder, the decoder, and the projections between them."""
        return self._network.called()

    def encode_image(self, images: Sequence[ImageInput]) -> list[Activations]:
        """The tower's activations that the decoder reads, reduced to its width: (1, tokens, reduce_dim) each, 0.37 MB per image in all.

        One image at a time, so that an image's bits depend on it alone.
        """
        with inference(self.name, self.micro_batch):
            return [self._network.tower(image.prepared(self.pixels).to(self._device)) for image in images]

    def encode_text(self, prompts: Sequence[str]) -> list[Tensor]:
        """The conditional embedding, (1, projection_dim), one prompt at a time and without padding."""
        with inference(self.name, self.micro_batch):
            return [self._network.text(self._tokens(prompt).to(self._device)) for prompt in prompts]

    def decode(self, pairs: Sequence[Pair]) -> list[Tensor]:
        """Logits of all pairs in one decoder call, (size, size) each on the model's grid (352 for the published weights)."""
        if not pairs:
            return []
        with inference(self.name, self.micro_batch):
            taps = zip(*(pair.image for pair in pairs), strict=True)
            activations = tuple(torch.cat(tap) for tap in taps)
            return list(self._network.decode(activations, torch.cat([pair.text for pair in pairs])))

    def _tokens(self, prompt: str) -> Tensor:
        """Token ids (1, n), cut to what the text encoder has positions for; the end token stays."""
        limit = self._network.max_tokens
        ids = self._tokenizer(prompt, truncation=True, max_length=limit)["input_ids"]
        if len(ids) == limit and len(self._tokenizer(prompt, verbose=False)["input_ids"]) > limit:
            self.note(f"phrases of more than {limit} tokens were cut to {limit}")
        return torch.tensor([ids])


class ClipSegNetwork(nn.Module):
    """transformers' network, taken apart at the seams that the sealed interface needs."""

    def __init__(self, model: CLIPSegForImageSegmentation) -> None:
        super().__init__()
        config: Any = model.config
        self.max_tokens = int(config.text_config.max_position_embeddings)
        self._extract = [int(layer) for layer in config.extract_layers]
        self._vision = model.clip.vision_model
        self._text = model.clip.text_model
        self._text_projection = model.clip.text_projection
        self._decoder = model.decoder
        # The decoder begins with one linear layer per tap, which needs no phrase: it moves to the image's side, and the decoder keeps
        # identities in its place. (Its taps are read from the last to the first.)
        self._reduces = self._decoder.reduces
        self._decoder.reduces = nn.ModuleList(nn.Identity() for _ in self._extract)
        # Nothing above the last tap is read.
        self._vision.encoder.layers = self._vision.encoder.layers[: max(self._extract) + 1]
        self._seen: dict[int, Tensor] = {}
        for index in set(self._extract):
            self._vision.encoder.layers[index].register_forward_hook(self._tap(index))
        self.eval().requires_grad_(requires_grad=False)

    def _tap(self, index: int) -> Any:  # noqa: ANN401 - a hook
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:  # noqa: ANN401
            self._seen[index] = output[0] if isinstance(output, tuple) else output  # transformers 4 returns a tuple

        return hook

    def called(self) -> tuple[nn.Module, ...]:
        """The modules that are called as a whole."""
        return self._vision, *self._reduces, self._text, self._text_projection, self._decoder

    def tower(self, pixels: Tensor) -> Activations:
        """(1, 3, size, size) pixels to one (1, tokens, reduce_dim) tensor per tap, in the order of ``extract_layers``."""
        self._vision(pixel_values=pixels, interpolate_pos_encoding=True)
        taps = [self._seen[index] for index in self._extract]
        self._seen.clear()
        return tuple(reduce(tap) for reduce, tap in zip(self._reduces, taps[::-1], strict=True))[::-1]

    def text(self, ids: Tensor) -> Tensor:
        """(1, n) token ids to the (1, projection_dim) conditional embedding."""
        pooled = self._text(input_ids=ids, attention_mask=torch.ones_like(ids)).pooler_output
        embedding: Tensor = self._text_projection(pooled)
        return embedding

    def decode(self, activations: Activations, conditional: Tensor) -> Tensor:
        """(B, tokens, reduce_dim) per tap and (B, projection_dim) to (B, size, size) logits."""
        logits: Tensor = self._decoder(activations, conditional).logits
        return logits.reshape(len(conditional), *logits.shape[-2:])  # some versions squeeze a batch of one


def load(request: LoadRequest) -> ClipSeg:
    """The factory of ``baselines/clipseg.yaml``.

    Raises:
        WeightsError: a file is missing, damaged or of another architecture.
        BenchError: unknown device or precision.
    """
    device = pick_device(request.device)
    pick_dtype(request.precision)
    paper = request.name.recipe == "paper"
    if AUTHORS in request.weights:
        found = read_authors(request.weights[AUTHORS], request.weights[CLIP])
    else:
        found = read_folder(next(iter(request.weights.values())), processor=not paper)
    return ClipSeg(
        str(request.name),
        ClipSegNetwork(found.model),
        found.tokenizer,
        PaperPixels() if paper or found.pixels is None else found.pixels,
        weights=hash_files(found.files, request.home / "hashes.json"),
        device=device,
        precision=request.precision,
        micro_batch=request.micro_batch,
    )
