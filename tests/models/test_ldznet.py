"""LD-ZNet, ZNet and RGBNet as segmenters: against the plain sequence of passes, their draws, and what is said when something is wrong."""

from __future__ import annotations

import collections
import dataclasses
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusion_models import CONFIGS, TINY, given, model, pairs, request, write_weights
from hypothesis import HealthCheck, settings
from hypothesis import given as given_by
from hypothesis import strategies as st
from make_sd import write_repository, write_segmenter
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from ldznet_bench.errors import BenchError, BenchWarning, WeightsError
from ldznet_bench.models.diffusion import SMALL_MICRO_BATCH, STREAMS, TEMPLATES, WRONG_CAPTIONS, Recipe, stream_seed, wrong_caption
from ldznet_bench.models.diffusion_pixels import demo_pixels, square_pixels
from ldznet_bench.models.ldznet import LDZNet, load_ldznet
from ldznet_bench.models.sd import add_noise, noise_schedule
from ldznet_bench.models.segmenter import Segmenter
from ldznet_bench.models.segunet import SegmentationUNet
from ldznet_bench.models.weight_folders import fill, open_bundle

FAMILIES = tuple(CONFIGS)
PHRASES = ("cat", "the red car", "dogs on a hill")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def ldznet(weights: Path) -> LDZNet:
    return model(weights)


@pytest.fixture(scope="module")
def stochastic(weights: Path) -> LDZNet:
    return model(weights, recipe="paper-stochastic")


def maps(segmenter: Segmenter, image_ids: tuple[str, ...] = ("1",), phrases: tuple[str, ...] = PHRASES, **options: int) -> list[Tensor]:
    every = [pair for ident in image_ids for pair in pairs(segmenter, given(ident, **options), phrases)]
    step = segmenter.micro_batch
    return [scores for start in range(0, len(every), step) for scores in segmenter.predict(every[start : start + step])]


def agree(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    """As DESIGN promises for networks: logits to 1e-4 of their standard deviation."""
    logits, others = torch.stack(ours).logit(), torch.stack(theirs).logit()
    return float((logits - others).abs().max()) <= 1e-4 * float(others.std())


# --- against the plain sequence ---------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def plainly(weights: Path, family: str, pixels: Tensor, prompt: str, noise: Tensor | None, told: str | None = None) -> Tensor:
    """VAE, whole LDM UNet with hooks, segmentation UNet: diffusers' and transformers' own loaders, one pair, nothing cut or shared."""
    sd, config = weights / "sd", CONFIGS[family]
    tokenizer = CLIPTokenizer.from_pretrained(sd / "tokenizer")
    ids = tokenizer([prompt, told or prompt], padding="max_length", max_length=77, truncation=True, return_tensors="pt")["input_ids"]
    text, caption = CLIPTextModel.from_pretrained(sd / "text_encoder").eval()(input_ids=ids).last_hidden_state.split(1)
    source, features = pixels, []
    if config.source == "latent":
        source = 0.18215 * AutoencoderKL.from_pretrained(sd / "vae").eval().encode(pixels).latent_dist.mode()
    if config.taps:
        unet = UNet2DConditionModel.from_pretrained(sd / "unet", variant="non_ema").eval()
        for tap in config.taps:
            unet.get_submodule(tap).register_forward_hook(lambda _module, _given, output: features.append(output[0]))
        time = torch.tensor([400])
        unet(add_noise(source, noise, time, noise_schedule(TINY.sd)), time, caption)
    network = fill(lambda: SegmentationUNet(config), open_bundle(weights / family).parts["segmenter"], family)
    return network(source, text, features)[0, 0].sigmoid()


@pytest.mark.parametrize("geometry", ["paper", "demo"])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_the_plain_sequence(weights: Path, family: str, geometry: str) -> None:
    segmenter = model(weights, family, f"{geometry}-deterministic")
    image = given(height=90, width=200)
    pair = pairs(segmenter, image, ("the red car",))[0]
    pixels = square_pixels(image.rgb, 128) if geometry == "paper" else demo_pixels(image.rgb, 128, 64)
    noise = None if pair.image.noise is None else pair.image.noise[None]
    expected = plainly(weights, family, pixels, "a photo of a the red car.", noise)
    assert agree(segmenter.predict([pair]), [expected])


def test_maps_lie_on_the_models_own_grid(weights: Path) -> None:
    assert maps(model(weights, recipe="demo-deterministic"), phrases=("cat",), height=90, width=200)[0].shape == (64, 128)


@pytest.mark.parametrize("phrase", ["the red car", "ball and box on a book"])
def test_under_wrong_captions_the_diffusion_model_alone_is_told_of_something_else(weights: Path, phrase: str) -> None:
    segmenter = model(weights, recipe="paper-wrong-caption")
    image = given(height=90, width=200)
    pair = pairs(segmenter, image, (phrase,))[0]
    told = wrong_caption(pair.sample_id, phrase)
    assert told in WRONG_CAPTIONS
    assert told not in phrase
    expected = plainly(weights, "ldznet", square_pixels(image.rgb, 128), f"a photo of a {phrase}.", pair.image.noise[None], f"a photo of a {told}.")
    assert agree(segmenter.predict([pair]), [expected])
    assert segmenter.recipe["caption"] == list(WRONG_CAPTIONS)


# --- draws ------------------------------------------------------------------------------------------------------------------------------------


def test_default_recipe_is_paper_deterministic() -> None:
    assert Recipe.named(None).name == "paper-deterministic"


@pytest.mark.parametrize("family", FAMILIES)
def test_deterministic_scores_do_not_depend_on_the_runs_seed(weights: Path, family: str) -> None:
    segmenter = model(weights, family)
    assert all(torch.equal(a, b) for a, b in zip(maps(segmenter, seed=1), maps(segmenter, seed=2), strict=True))


def test_deterministic_noise_is_each_images_own(ldznet: LDZNet) -> None:
    first, second = ldznet.encode_image([given("1"), given("2")])
    assert not torch.equal(first.noise, second.noise)
    assert torch.equal(first.noise, ldznet.encode_image([given("1", seed=77)])[0].noise)


def test_deterministic_prompt_and_timestep(ldznet: LDZNet) -> None:
    assert {ldznet.prompt("cat", seed) for seed in range(20)} == {"a photo of a cat."}
    assert {ldznet.timestep(seed) for seed in range(20)} == {400}


def test_stochastic_prompts_are_the_nine_templates(stochastic: LDZNet) -> None:
    drawn = collections.Counter(stochastic.prompt("cat", seed) for seed in range(900))
    assert set(drawn) == {template.replace("{}", "cat") for template in TEMPLATES}
    assert min(drawn.values()) > 60


def test_stochastic_timesteps_fill_300_to_499(stochastic: LDZNet) -> None:
    drawn = {stochastic.timestep(seed) for seed in range(3000)}
    assert min(drawn) == 300
    assert max(drawn) == 499


def test_phrases_with_braces_are_left_alone(ldznet: LDZNet) -> None:
    assert ldznet.prompt("{} and {0}", 0) == "a photo of a {} and {0}."


def test_vae_sample_is_mean_plus_scaled_noise(weights: Path, ldznet: LDZNet, stochastic: LDZNet) -> None:
    image = given()
    mode = ldznet.encode_image([image])[0].source
    sample = stochastic.encode_image([image])[0].source
    vae = AutoencoderKL.from_pretrained(weights / "sd" / "vae").eval()
    with torch.no_grad():
        posterior = vae.encode(square_pixels(image.rgb, 128)).latent_dist
    eps = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(stream_seed(image.seed, "vae")))
    assert torch.allclose(mode, 0.18215 * posterior.mean[0], atol=1e-6)
    assert torch.allclose(sample, 0.18215 * (posterior.mean + posterior.std * eps)[0], atol=1e-5)


def test_stochastic_draws_follow_the_seed(stochastic: LDZNet) -> None:
    same, other = stochastic.encode_image([given(seed=5), given(seed=6)])
    again = stochastic.encode_image([given(seed=5)])[0]
    assert torch.equal(same.source, again.source)
    assert torch.equal(same.noise, again.noise)
    assert not torch.equal(same.noise, other.noise)


@given_by(st.integers(0, 2**64 - 1), st.integers(0, 5))
def test_streams_never_share_a_seed(seed: int, repeat: int) -> None:
    assert len({stream_seed(seed, stream, repeat) for stream in STREAMS}) == len(STREAMS)


@pytest.mark.parametrize("stream", STREAMS)
def test_one_stream_is_drawn_anew_and_the_others_stand_still(stochastic: LDZNet, stream: str) -> None:
    before, after = (drawn(segmenter) for segmenter in (stochastic, stochastic.repeated(1, (stream,))))
    assert {name for name in before if before[name] != after[name]} == {stream}


def drawn(segmenter: LDZNet) -> dict[str, object]:
    image = segmenter.encode_image([given()])[0]
    return {
        "template": [segmenter.prompt("cat", seed) for seed in range(20)],
        "timestep": [segmenter.timestep(seed) for seed in range(20)],
        "noise": image.noise.tolist(),
        "vae": image.source.tolist(),
    }


def test_repeat_enters_the_recipe_and_zero_is_the_model_itself(stochastic: LDZNet) -> None:
    assert stochastic.repeated(0).recipe == stochastic.recipe
    assert stochastic.repeated(2, ("noise",)).recipe["repeat"] == {"noise": 2}


@pytest.mark.parametrize(("family", "streams"), [("ldznet", STREAMS), ("znet", ("template", "vae")), ("rgbnet", ("template",))])
def test_models_draw_only_what_they_read(weights: Path, family: str, streams: tuple[str, ...]) -> None:
    assert model(weights, family, "paper-stochastic").streams == streams


def test_deterministic_recipe_cannot_be_repeated(ldznet: LDZNet) -> None:
    with pytest.raises(BenchError, match="is no network that draws anything to repeat"):
        ldznet.repeated(1)


def test_stream_that_is_not_drawn_is_refused(weights: Path) -> None:
    with pytest.raises(BenchError, match=r"unknown stream of rgbnet/full\+paper-stochastic 'noise'"):
        model(weights, "rgbnet", "paper-stochastic").repeated(1, ("noise",))


# --- batches, order, processes ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["paper-deterministic", "paper-stochastic", "demo-stochastic"])
@pytest.mark.parametrize("family", FAMILIES)
def test_micro_batch_changes_scores_by_rounding_only(weights: Path, family: str, recipe: str) -> None:
    alone = maps(model(weights, family, recipe, micro_batch=1), ("1", "2"))
    together = maps(model(weights, family, recipe, micro_batch=4), ("1", "2"))
    assert agree(together, alone)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given_by(order=st.permutations(range(6)))
@pytest.mark.parametrize("micro_batch", [1, 4])
def test_order_changes_no_bit(weights: Path, micro_batch: int, order: list[int]) -> None:
    """Also with two sizes in one micro-batch, which are run one after the other, each padded to the full micro-batch."""
    segmenter = cached(weights, micro_batch)
    every = [*pairs(segmenter, given("1"), PHRASES), *pairs(segmenter, given("2", height=200, width=100), PHRASES)]
    straight = predict_all(segmenter, every)
    shuffled = predict_all(segmenter, [every[i] for i in order])
    assert all(torch.equal(straight[i], shuffled[at]) for at, i in enumerate(order))


_CACHED: dict[int, LDZNet] = {}


def cached(weights: Path, micro_batch: int) -> LDZNet:
    if micro_batch not in _CACHED:
        _CACHED[micro_batch] = model(weights, recipe="demo-stochastic", micro_batch=micro_batch)
    return _CACHED[micro_batch]


def predict_all(segmenter: LDZNet, every: list[object]) -> list[Tensor]:
    step = segmenter.micro_batch
    return [scores for start in range(0, len(every), step) for scores in segmenter.predict(every[start : start + step])]


def test_encoding_together_or_alone_is_the_same(stochastic: LDZNet) -> None:
    together = stochastic.encode_image([given("1"), given("2")])
    alone = stochastic.encode_image([given("2")])[0]
    assert torch.equal(together[1].source, alone.source)
    texts = stochastic.encode_text(["a photo of a cat.", "{}"])
    assert torch.equal(texts[0], stochastic.encode_text(["a photo of a cat."])[0])


# --- precision, memory ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.2), ("fp16", 0.05)])
def test_lower_precision_is_near_full_precision(weights: Path, precision: str, tolerance: float) -> None:
    """In units of the spread of the full-precision logits; the tiny network is as deep as the real one."""
    full = torch.stack(maps(model(weights))).logit()
    low = torch.stack(maps(model(weights, precision=precision))).logit()
    assert float((full - low).abs().mean()) < tolerance * float(full.std())
    assert low.dtype == torch.float32


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_lower_precision_runs_at_sizes_that_resize_positions(weights: Path, family: str, precision: str) -> None:
    segmenter = model(weights, family, "demo-deterministic", precision=precision)
    assert maps(segmenter, phrases=("cat",), height=90, width=200)[0].shape == (64, 128)


def test_running_out_of_memory_says_what_to_try(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = model(weights, micro_batch=4)
    every = pairs(segmenter, given(), ("cat",))

    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(segmenter, "_segment", exhausted)
    with pytest.raises(BenchError, match=r"ran out of memory. Try a smaller --micro-batch \(it is 4\)"):
        segmenter.predict(every)


def test_micro_batch_defaults_to_one_on_a_cpu_but_for_small_images(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model(weights, micro_batch=None).micro_batch == SMALL_MICRO_BATCH
    monkeypatch.setattr("ldznet_bench.models.diffusion.SMALL_IMAGE", 8)
    assert model(weights, micro_batch=None).micro_batch == 1


# --- odd images and phrases -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2000), (2000, 3)])
@pytest.mark.parametrize("recipe", ["paper-deterministic", "demo-deterministic"])
def test_odd_images_get_a_map(weights: Path, recipe: str, height: int, width: int) -> None:
    scores = maps(model(weights, recipe=recipe), phrases=("cat",), height=height, width=width)[0]
    assert scores.shape == {("demo", 2000): (64, 256), ("demo", 3): (256, 64)}.get((recipe[:4], width), (128, 128))


@pytest.mark.parametrize("phrase", ["", " ", "кот", "猫", "قطة", "cat\x00", "🐈" * 5, "A" * 60])
def test_odd_phrases_get_a_map(ldznet: LDZNet, phrase: str) -> None:
    assert maps(ldznet, phrases=(phrase,))[0].shape == (128, 128)


def test_long_phrase_is_cut_and_said_once(weights: Path) -> None:
    segmenter = model(weights)
    with pytest.warns(BenchWarning, match="more than 77 tokens were cut to 77") as said:
        long = segmenter.encode_text(["word " * 500, "other " * 500, "cat"])
    assert len(said) == 1
    assert list(segmenter.notes.values()) == [2]
    assert long[0].shape == (77, 16)


def test_cut_phrase_keeps_its_end_token(weights: Path, ldznet: LDZNet) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(weights / "sd" / "tokenizer")
    expected = tokenizer("word " * 50, truncation=True, max_length=77)["input_ids"]
    assert ldznet._diffusion.tokens("word " * 50) == (expected, True)


# --- what is wrong is said --------------------------------------------------------------------------------------------------------------------


def test_znets_weights_are_not_a_row_of_ldznet(weights: Path) -> None:
    with pytest.raises(WeightsError, match="holds znet's network, ldznet was asked for"):
        load_ldznet(request(weights, parts={"ldznet": weights / "znet", "sd": weights / "sd"}))


def test_stable_diffusion_alone_is_no_segmenter(weights: Path) -> None:
    with pytest.raises(WeightsError, match="holds no segmentation network"):
        load_ldznet(request(weights, parts={"ldznet": weights / "sd", "sd": weights / "sd"}))


@pytest.mark.parametrize(("part", "said"), [("text_encoder", "text encoder"), ("unet", "diffusion UNet"), ("vae", "autoencoder")])
def test_missing_part_is_named(weights: Path, tmp_path: Path, part: str, said: str) -> None:
    shutil.copytree(weights / "sd", tmp_path / "sd")
    shutil.rmtree(tmp_path / "sd" / part)
    with pytest.raises(WeightsError, match=f"needs a[n]? {said}, and .* holds none"):
        load_ldznet(request(weights, parts={"ldznet": weights / "ldznet", "sd": tmp_path / "sd"}))


def test_missing_tokenizer_is_named(weights: Path, tmp_path: Path) -> None:
    shutil.copytree(weights / "sd", tmp_path / "sd")
    shutil.rmtree(tmp_path / "sd" / "tokenizer")
    with pytest.raises(WeightsError, match="finds no tokenizer"):
        load_ldznet(request(weights, parts={"ldznet": weights / "ldznet", "sd": tmp_path / "sd"}, home=tmp_path))


def test_fetched_tokenizer_is_found_in_the_home(weights: Path, tmp_path: Path) -> None:
    shutil.copytree(weights / "sd", tmp_path / "sd")
    (tmp_path / "home" / "weights").mkdir(parents=True)
    (tmp_path / "sd" / "tokenizer").rename(tmp_path / "home" / "weights" / "clip-tokenizer")
    chosen = {"ldznet": weights / "ldznet", "sd": tmp_path / "sd"}
    assert load_ldznet(request(weights, parts=chosen, home=tmp_path / "home")).prompt("x", 0)


def test_nan_weights_are_named_when_they_show(weights: Path, tmp_path: Path) -> None:
    shutil.copytree(weights / "sd", tmp_path / "sd")
    vae = AutoencoderKL.from_pretrained(tmp_path / "sd" / "vae")
    with torch.no_grad():
        vae.quant_conv.bias[0] = float("nan")
    vae.save_pretrained(tmp_path / "sd" / "vae")
    segmenter = load_ldznet(request(weights, parts={"ldznet": weights / "ldznet", "sd": tmp_path / "sd"}))
    with pytest.raises(WeightsError, match=r"NaN or infinite weights in vae/quant_conv\.bias"):
        maps(segmenter, phrases=("cat",))


def both(tmp_path: Path, sets: str) -> Path:
    return write_repository(tmp_path / "sd", TINY.sd, sets=sets)


def test_non_ema_weights_are_the_default_and_ema_a_variant(weights: Path, tmp_path: Path) -> None:
    chosen = {"ldznet": weights / "ldznet", "sd": both(tmp_path, "both")}
    usual, other = (load_ldznet(request(weights, parts=chosen, variant=variant)) for variant in ("full", "full-ldm-ema"))
    assert usual.recipe["ldm_weights"] == "non-ema"
    assert other.recipe["ldm_weights"] == "ema"
    assert usual.weights != other.weights
    assert not agree(maps(usual), maps(other))


def test_weights_of_which_nobody_says_which_they_are(weights: Path, tmp_path: Path) -> None:
    with pytest.warns(BenchWarning, match="nothing says whether .* holds EMA or non-EMA weights"):
        segmenter = load_ldznet(request(weights, parts={"ldznet": weights / "ldznet", "sd": both(tmp_path, "plain")}))
    assert segmenter.recipe["ldm_weights"] == "unlabelled"


def test_ema_weights_are_not_taken_for_non_ema_ones(weights: Path, tmp_path: Path) -> None:
    folder = both(tmp_path, "both")
    chosen = {"ldznet": weights / "ldznet", "sd": folder}
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"wants the ema weights of the diffusion UNet, .* holds the non-ema ones"):
        load_ldznet(request(weights, parts=chosen, variant="full-ldm-ema"))


def test_tokenizer_of_another_model_is_refused(weights: Path, tmp_path: Path) -> None:
    smaller = dataclasses.replace(TINY.sd, text={**TINY.sd.text, "vocab_size": 100, "eos_token_id": 99, "bos_token_id": 98, "pad_token_id": 99})
    write_repository(tmp_path / "sd", smaller)
    with pytest.raises(WeightsError, match="has 514 tokens, the text encoder 100"):
        load_ldznet(request(weights, parts={"ldznet": weights / "ldznet", "sd": tmp_path / "sd"}))


def test_weights_hash_covers_every_file(weights: Path, tmp_path: Path) -> None:
    first = load_ldznet(request(weights)).weights
    write_segmenter(tmp_path / "ldznet", CONFIGS["ldznet"], seed=8)
    assert load_ldznet(request(weights, parts={"ldznet": tmp_path / "ldznet", "sd": weights / "sd"})).weights != first


def test_loading_prints_and_warns_nothing(weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(weights)
    assert capfd.readouterr().err == ""
