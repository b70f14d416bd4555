"""What LD-ZNet, ZNet, RGBNet and `ldm-attention` share as segmenters: recipes, seeded draws, and the phrase- and image-free halves.

Every random number comes from a CPU generator of its own: seeded by the sample or the image, by the stream it belongs to and by the repeat.
So draws depend neither on batch, order, process nor device, and each stream can be varied while the others stand still.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from ldznet_bench.errors import unknown_name
from ldznet_bench.models.devices import inference, pick_dtype
from ldznet_bench.models.diffusion_pixels import demo_pixels, square_pixels
from ldznet_bench.models.sd import VAE, FeatureTaps, SDConfig, TextEncoder, add_noise, encode_moments, noise_schedule, scaled_latents, text_hidden
from ldznet_bench.models.segmenter import ImageInput, Pair, Segmenter, draws_nothing

# The authors' nine, in their order (ldznet_model.py, sample_prompts); the first is the deterministic one.
TEMPLATES = (
    "a photo of a {}.",
    "a photograph of a {}.",
    "an image of a {}.",
    "{}.",
    "a cropped photo of a {}.",
    "a good photo of a {}.",
    "a photo of one {}.",
    "a bad photo of a {}.",
    "a photo of the {}.",
)
# What a diffusion model is told under the control `paper-wrong-caption`: things that both Stable Diffusion and the miniature know.
WRONG_CAPTIONS = ("apple", "ball", "bell", "bird", "boat", "book", "bottle", "box")
TIMESTEPS = (300, 500)  # drawn from [first, last): the authors' yaml says [300, 400, 500], their code reads the ends
FIXED_TIMESTEP = 400

Stream = Literal["template", "timestep", "noise", "vae"]
STREAMS: tuple[Stream, ...] = ("template", "timestep", "noise", "vae")

# Pairs per network call. On a CPU a pair alone is as fast as in a batch (the passes are bound by arithmetic) and nothing is padded.
# The miniature's passes are bound by their many small calls: 8 pairs of 96x96 take half the time of 8 single ones.
DEFAULT_MICRO_BATCH = {"cpu": 1, "cuda": 8}
SMALL_IMAGE, SMALL_MICRO_BATCH = 128, 8


@dataclass(frozen=True)
class Recipe:
    """How an image and a phrase are put to the network.

    Attributes:
        geometry: ``paper`` (a square of the training size) or ``demo`` (aspect kept, multiples of 64).
        stochastic: draw template, timestep, noise and VAE sample as the authors do, from seeds; otherwise take the posterior's mode, the first
            template, t = 400, and noise that depends on the image alone.
        caption: what the frozen diffusion model is told: the ``given`` prompt, or as a control a ``wrong`` one (`WRONG_CAPTIONS`), while the
            segmentation network reads the given one.
    """

    geometry: Literal["paper", "demo"] = "paper"
    stochastic: bool = False
    caption: Literal["given", "wrong"] = "given"

    @property
    def name(self) -> str:
        """``paper-deterministic`` and so on."""
        if self.caption == "wrong":
            return f"{self.geometry}-wrong-caption"
        return f"{self.geometry}-{'stochastic' if self.stochastic else 'deterministic'}"

    @classmethod
    def named(cls, name: str | None) -> Recipe:
        """The recipe of a name; None is the default, ``paper-deterministic``.

        Raises:
            BenchError: unknown.
        """
        drawn_or_not = (cls(geometry, drawn) for geometry in ("paper", "demo") for drawn in (False, True))
        known = {recipe.name: recipe for recipe in (*drawn_or_not, cls("paper", stochastic=False, caption="wrong"))}
        if name is None:
            return cls()
        if name not in known:
            raise unknown_name("recipe", name, known)
        return known[name]

    def to_json(self, *, diffusion: bool) -> dict[str, Any]:
        """What the recipe fixes, for a cell's identity.

        Args:
            diffusion: whether the network reads diffusion features, so that timestep and noise matter.
        """
        drawn = self.stochastic
        values: dict[str, Any] = {
            "geometry": self.geometry,
            "template": "one of 9" if drawn else TEMPLATES[0],
            "vae": "sample" if drawn else "mode",
        }
        if diffusion:
            values |= {
                "timestep": f"[{TIMESTEPS[0]}, {TIMESTEPS[1]})" if drawn else FIXED_TIMESTEP,
                "noise": "per image" if drawn else "per image, run seed 0",
            }
            if self.caption == "wrong":
                values["caption"] = list(WRONG_CAPTIONS)
        return values


def wrong_caption(sample_id: str, phrase: str) -> str:
    """One of `WRONG_CAPTIONS` that the phrase does not name, by the sha256 of the sample's id."""
    others = [word for word in WRONG_CAPTIONS if word not in phrase]
    return others[stream_seed(0, sample_id) % len(others)]


def stream_seed(seed: int, stream: str, repeat: int = 0) -> int:
    """The seed of one stream of draws: the first 8 bytes, big-endian, of sha256 over seed, stream and repeat joined by NUL.

    torch's CPU generator keeps the low 32 bits of it.
    """
    text = "\0".join((str(seed), stream, str(repeat)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fixed_image_seed(image_id: str) -> int:
    """The image's seed in deterministic recipes: of run seed 0 and the image id, whatever the run's seed."""
    return int.from_bytes(hashlib.sha256(f"0\0{image_id}".encode()).digest()[:8], "big")


@dataclass(frozen=True)
class EncodedImage:
    """What is computed once per image.

    Attributes:
        source: what is segmented, float32 (C, h, w) on the network's device: clean scaled latents, or RGB in [-1, 1] for RGBNet.
        noise: standard normal of the latents' shape, where diffusion features are read.
    """

    source: Tensor
    noise: Tensor | None


class Diffusion:
    """The frozen networks, on their device.

    Args:
        config: sizes and schedule.
        text_encoder: CLIP's.
        tokenizer: CLIP's.
        vae: None for networks on RGB. Its decoder is not needed and may be gone.
        ldm: the tapped UNet; None for networks that read no diffusion features.
        device: of all of them.
        dtype: of their weights.
    """

    def __init__(
        self,
        config: SDConfig,
        text_encoder: TextEncoder,
        tokenizer: Any,  # noqa: ANN401 - transformers has no types for it
        *,
        vae: VAE | None = None,
        ldm: FeatureTaps | None = None,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.config, self.tokenizer, self.device, self.dtype = config, tokenizer, device, dtype
        self.schedule = noise_schedule(config)
        self.text_encoder = moved(text_encoder, device, dtype)
        self.vae = None if vae is None else moved(vae, device, dtype)
        self.ldm = None if ldm is None else moved(ldm, device, dtype)

    @property
    def max_tokens(self) -> int:
        """Tokens that the text encoder reads: 77."""
        return int(self.config.text["max_position_embeddings"])

    def tokens(self, prompt: str) -> tuple[list[int], bool]:
        """Ids of a prompt, cut to `max_tokens` with the end token kept, and whether it was cut."""
        ids: list[int] = self.tokenizer(prompt, truncation=False, verbose=False)["input_ids"]
        if len(ids) <= self.max_tokens:
            return ids, False
        return [*ids[: self.max_tokens - 1], ids[-1]], True

    def hidden(self, ids: Sequence[int]) -> Tensor:
        """Hidden states (max_tokens, d) of one prompt, padded with its end token."""
        padded = [*ids, *[ids[-1]] * (self.max_tokens - len(ids))]
        return text_hidden(self.text_encoder, torch.tensor([padded], device=self.device))[0]

    def moments(self, image: Tensor) -> Tensor:
        """Moments of the posterior of an image (1, 3, H, W), float32 (1, 2C, h, w)."""
        return encode_moments(self.vae, image.to(self.device, self.dtype)).float()

    def latents(self, image: Tensor, seed: int | None, moments: Tensor | None = None) -> Tensor:
        """Scaled float32 latents (C, h, w) of an image (1, 3, H, W): the posterior's mode, or a sample with a seed.

        Args:
            image: RGB in [-1, 1].
            seed: None takes the mode.
            moments: of the image, where they are known.
        """
        moments = self.moments(image) if moments is None else moments
        noise = None if seed is None else torch.randn(self.latent_shape(image), generator=_generator(seed)).to(self.device)
        return scaled_latents(moments, noise, self.config.vae["scaling_factor"])[0]

    def latent_shape(self, image: Tensor) -> tuple[int, int, int, int]:
        """Shape of the latents of an image (1, 3, H, W)."""
        height, width = image.shape[-2:]
        return 1, int(self.config.vae["latent_channels"]), height // self.config.downsample, width // self.config.downsample

    def features(self, latents: Tensor, noise: Tensor, timesteps: Tensor, text: Tensor) -> list[Tensor]:
        """Diffusion features of noised latents, in the order of the taps."""
        if self.ldm is None:
            return []
        noisy = add_noise(latents, noise, timesteps, self.schedule)
        features: list[Tensor] = self.ldm(noisy.to(self.dtype), timesteps.to(self.device), text)
        return features


def moved(module: Any, device: torch.device, dtype: torch.dtype) -> Any:  # noqa: ANN401 - the same module
    """A module on its device; on the CPU in its own precision nothing is copied. (diffusers' own `to` prints a warning about nothing.)"""
    return nn.Module.to(module, device=device, dtype=dtype)


class DiffusionSegmenter(Segmenter):
    """The common halves. A subclass gives `_segment`, the network's pass over one micro-batch of one size.

    Attributes:
        reads_features: whether timestep and noise are drawn at all.
        source: ``latent`` or ``rgb``.
        image_size: side of the training square in pixels.
        notes: what is said once per run, and how often it happened.
    """

    reads_features: bool
    source: Literal["latent", "rgb"] = "latent"

    def __init__(
        self,
        name: str,
        diffusion: Diffusion,
        recipe: Recipe,
        *,
        image_size: int,
        multiple: int,
        weights: str,
        options: dict[str, Any],
        precision: str = "fp32",
        micro_batch: int | None = None,
    ) -> None:
        self.name, self.weights, self.precision = name, weights, precision
        self.device = diffusion.device.type
        self.micro_batch: int = micro_batch or (SMALL_MICRO_BATCH if image_size <= SMALL_IMAGE else DEFAULT_MICRO_BATCH[self.device])
        self.image_size, self.multiple = image_size, multiple
        self.notes: dict[str, int] = {}
        self.repeats: dict[str, int] = dict.fromkeys(STREAMS, 0)
        self._diffusion, self._recipe, self._options = diffusion, recipe, options
        self.recipe = self._describe()
        self.streams = self._streams()
        if pick_dtype(precision) != diffusion.dtype:
            raise ValueError(f"precision {precision} with weights in {diffusion.dtype}")

    def _describe(self) -> dict[str, Any]:
        fixed = self._recipe.to_json(diffusion=self.reads_features)
        if self.source == "rgb":
            del fixed["vae"]
        repeats = {stream: repeat for stream, repeat in self.repeats.items() if repeat}
        return {"image_size": self.image_size, **fixed, **self._options, **({"repeat": repeats} if repeats else {})}

    def _streams(self) -> tuple[str, ...]:
        """The streams that this model really draws from: none in a deterministic recipe, no noise for ZNet, no VAE for RGBNet."""
        if not self._recipe.stochastic:
            return ()
        unused = {*(() if self.reads_features else ("timestep", "noise")), *(("vae",) if self.source == "rgb" else ())}
        return tuple(stream for stream in STREAMS if stream not in unused)

    def repeated(self, repeat: int, streams: Iterable[str] | None = None) -> Self:
        """The same model and weights, with some streams drawn anew; repeat 0 is the model itself.

        Args:
            repeat: counts draws.
            streams: which are drawn anew; all by default. The others stay as they are.

        Raises:
            BenchError: the recipe draws nothing, or not from that stream.
        """
        chosen = tuple(self.streams if streams is None else streams)
        if not self.streams:
            raise draws_nothing(self.name)
        for stream in chosen:
            if stream not in self.streams:
                raise unknown_name(f"stream of {self.name}", stream, self.streams)
        other = copy.copy(self)
        other.repeats = {**self.repeats, **dict.fromkeys(chosen, repeat)}
        other.recipe = {**{key: value for key, value in self.recipe.items() if key != "repeat"}, **other._describe()}
        return other

    def _seed(self, seed: int, stream: Stream) -> int:
        return stream_seed(seed, stream, self.repeats[stream])

    def pixels(self, image: ImageInput) -> Tensor:
        """RGB in [-1, 1], float32 (1, 3, H, W), on the processor."""
        size = (self.image_size,) if self._recipe.geometry == "paper" else (self.image_size, self.multiple)
        resize: Callable[..., Tensor] = square_pixels if self._recipe.geometry == "paper" else demo_pixels
        return resize(image.rgb, *size)

    def networks(self) -> Sequence[nn.Module]:
        """The frozen networks; a subclass adds its own."""
        parts = self._diffusion
        vae: Any = parts.vae
        return [parts.text_encoder, *(() if vae is None else (vae.encoder, vae.quant_conv)), *(() if parts.ldm is None else (parts.ldm,))]

    def encode_image(self, images: Sequence[ImageInput]) -> list[EncodedImage]:
        """Latents (or RGB) and noise, one image at a time, so that an image's bits depend on it alone."""
        return [self.encode_draws(image, [self])[0] for image in images]

    def encode_draws(self, image: ImageInput, draws: Sequence[DiffusionSegmenter]) -> list[EncodedImage]:
        """One image as each of several draws of this model encodes it: the autoencoder runs once, its sample alone differs."""
        with inference(self.name, self.micro_batch):
            pixels: Tensor = image.prepared(self.pixels)
            moments = None if self.source == "rgb" else self._diffusion.moments(pixels)
            return [draw._encode(image, pixels, moments) for draw in draws]

    def _encode(self, image: ImageInput, pixels: Tensor, moments: Tensor | None) -> EncodedImage:
        seed = image.seed if self._recipe.stochastic else fixed_image_seed(image.image_id)
        if self.source == "rgb":
            source = pixels[0].to(self._diffusion.device)
        else:
            source = self._diffusion.latents(pixels, self._seed(seed, "vae") if self._recipe.stochastic else None, moments)
        noise = None
        if self.reads_features:
            noise = torch.randn(self._diffusion.latent_shape(pixels)[1:], generator=_generator(self._seed(seed, "noise"))).to(source.device)
        return EncodedImage(source, noise)

    def prompt(self, phrase: str, seed: int) -> str:
        """The phrase in a template: the first, or one of nine drawn from the sample's seed."""
        index = 0
        if self._recipe.stochastic:
            index = int(torch.randint(len(TEMPLATES), (), generator=_generator(self._seed(seed, "template"))))
        return TEMPLATES[index].replace("{}", phrase)

    def timestep(self, seed: int) -> int:
        """400, or drawn from [300, 500) by the sample's seed."""
        if not self._recipe.stochastic:
            return FIXED_TIMESTEP
        return int(torch.randint(*TIMESTEPS, (), generator=_generator(self._seed(seed, "timestep"))))

    def encode_text(self, prompts: Sequence[str]) -> list[Any]:
        """Hidden states (77, d) per prompt, one prompt at a time."""
        with inference(self.name, self.micro_batch):
            return [self._encode_text(prompt) for prompt in prompts]

    def _encode_text(self, prompt: str) -> Any:  # noqa: ANN401 - ldm-attention adds to it
        return self._diffusion.hidden(self._tokens(prompt))

    def _tokens(self, prompt: str) -> list[int]:
        ids, cut = self._diffusion.tokens(prompt)
        if cut:
            self.note(f"prompts of more than {self._diffusion.max_tokens} tokens were cut to {self._diffusion.max_tokens}")
        return ids

    def decode(self, pairs: Sequence[Pair]) -> list[Tensor]:
        """One (h, w) map per pair. Images of one size share a pass; each pass has exactly `micro_batch` pairs, the last ones padding."""
        maps: list[Tensor | None] = [None] * len(pairs)
        by_size: dict[tuple[int, ...], list[int]] = {}
        for index, pair in enumerate(pairs):
            by_size.setdefault(tuple(pair.image.source.shape), []).append(index)
        with inference(self.name, self.micro_batch):
            for indices in by_size.values():
                padded = indices + [indices[-1]] * (-len(indices) % self.micro_batch)
                for start in range(0, len(padded), self.micro_batch):
                    batch = padded[start : start + self.micro_batch]
                    for index, scores in zip(batch, self._segment([pairs[i] for i in batch]), strict=True):
                        maps[index] = scores
        return [scores for scores in maps if scores is not None]

    def _segment(self, pairs: Sequence[Pair]) -> Tensor:
        """(B, h, w) for pairs whose images have one size."""
        raise NotImplementedError

    def _features(self, pairs: Sequence[Pair], latents: Tensor, text: Tensor) -> list[Tensor]:
        if not self.reads_features:
            return []
        noise = torch.stack([pair.image.noise for pair in pairs])
        timesteps = torch.tensor([self.timestep(pair.seed) for pair in pairs])
        return self._diffusion.features(latents, noise, timesteps, text)
