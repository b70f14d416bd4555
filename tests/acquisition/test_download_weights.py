"""Weights from a hub with tiny networks in the real layouts; then `run` without a socket, tokenizer included."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from acquiring import Bench, download, flip
from hosts import Hub
from make_mirror import Hosts, serve_weights

REPO = "CIDAS/clipseg-rd64-refined"


def published(folder: Path) -> dict[str, bytes]:
    """CLIPSeg as CIDAS published it in 2022, a megabyte of it: the tokenizer as vocab.json and merges.txt."""
    from make_clipseg import BOS, EOS, make_config, make_vocabulary, write_clipseg

    write_clipseg(folder, size="tiny")
    vocabulary, merges = make_vocabulary(make_config("tiny", refined=True, reduce_dim=16).text_config.vocab_size)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges))
    (folder / "special_tokens_map.json").write_text(json.dumps({"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": EOS}))
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "tokenizer.json"}


@pytest.fixture
def clipseg(hosts: Hosts, tmp_path: Path) -> Hub:
    """A hub that has CLIPSeg."""
    hosts.hub.add(REPO, published(tmp_path / "made"))
    return hosts.hub


def test_clipseg_is_downloaded_and_runs_without_a_socket(bench: Bench, clipseg: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    said = download(bench, "clipseg")
    assert said["done"][0]["folder"].endswith("weights/clipseg")

    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", refuse)
        code, out, err = bench("run", "--models", "clipseg/full", "--limit", "3", "--json", "--quiet")
    assert code == 0, err
    assert json.loads(out)["runs"][0]["model"].startswith("clipseg/full")


@pytest.mark.parametrize(
    "model", ["clipseg", "ldznet", "ldm-attention", "sam3", "grounding-dino", "mm-grounding-dino", "owlv2", "omdet-turbo", "florence2"]
)
def test_every_source_of_every_part_arrives_in_its_folder(bench: Bench, hosts: Hosts, tmp_path: Path, model: str) -> None:
    from ldznet_bench.models.card import model_card

    card = serve_weights(hosts, model)
    for part, about in model_card(model).parts.items():
        sources = [source for source in about.sources if source.download is not None]
        for source in sources:
            extra = [file.path for file in source.download.files if file.need == "optional"]
            options = [option for path in extra for option in ("--with", path)]
            said = download(bench, f"{model}:{source.id}", "--card", card, *options)
            folder = tmp_path / "home" / "weights" / source.download.root
            assert said["done"][0]["folder"] == str(folder)
            found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
            assert found == {file.path for file in source.download.files}
        assert not sources or (tmp_path / "home" / "weights" / part).is_dir()


def test_ldznet_with_all_its_parts_is_one_command(bench: Bench, hosts: Hosts) -> None:
    said = download(bench, "ldznet", "--card", serve_weights(hosts, "ldznet"))
    assert [one["name"] for one in said["done"]] == ["ldznet:txt2mask", "ldznet:sd-v1-4"]


def test_a_variant_brings_its_own_parts_alone(bench: Bench, hosts: Hosts) -> None:
    said = download(bench, "owlv2/sam2", "--card", serve_weights(hosts, "owlv2"))
    assert [one["name"] for one in said["done"]] == ["owlv2:owlv2-large", "owlv2:sam2.1-hiera-large"]
    code, _, err = bench("download", "owlv2/sam4", "--quiet")
    assert (code, "unknown variant of owlv2 'sam4'. Did you mean 'sam" in err) == (2, True)


def test_verify_finds_a_damaged_tensor(bench: Bench, clipseg: Hub, tmp_path: Path) -> None:
    download(bench, "clipseg")
    flip(tmp_path / "home" / "weights" / "clipseg" / "model.safetensors")
    code, out, _ = bench("verify", "clipseg", "--json")
    assert code == 1
    assert [Path(bad["path"]).name for bad in json.loads(out)[0]["bad"]] == ["model.safetensors"]
    download(bench, "clipseg")
    assert bench("verify", "clipseg")[0] == 0


def test_remove_takes_the_weights(bench: Bench, clipseg: Hub, tmp_path: Path) -> None:
    download(bench, "clipseg")
    assert bench("remove", "clipseg", "--yes")[0] == 0
    assert not (tmp_path / "home" / "weights" / "clipseg").exists()


def test_another_source_has_a_folder_of_its_own_and_is_named(bench: Bench, hosts: Hosts, tmp_path: Path) -> None:
    hosts.hub.add("CIDAS/clipseg-rd16", published(tmp_path / "made"))
    said = download(bench, "clipseg:rd16")
    folder = tmp_path / "home" / "weights" / "clipseg-rd16"
    assert said["done"][0]["next"] == f"ldznet-bench run --models clipseg --weights clipseg={folder} --datasets DATASET"


def test_a_gated_repository_ends_in_a_recipe(bench: Bench, hosts: Hosts) -> None:
    hosts.hub.add(REPO, {"config.json": b"{}"}, gated=True)
    code, _, err = bench("download", "clipseg", "--quiet")
    assert code == 2
    assert f"gated: accept the licence at https://huggingface.co/{REPO}, then log in with `hf auth login`" in err
    assert "ldznet-bench download clipseg:rd64-refined --from FOLDER" in err


def test_sam3_without_a_login_says_where_to_ask_for_access_and_how_to_log_in(bench: Bench, hosts: Hosts, tmp_path: Path) -> None:
    hosts.hub.add("facebook/sam3", {"config.json": b"{}"}, gated=True)
    code, out, _ = bench("download", "sam3", "--dry-run")
    assert code == 0
    assert "to accept by hand: Ask for access on https://huggingface.co/facebook/sam3" in out
    code, _, err = bench("download", "sam3", "--quiet")
    assert code == 2
    assert "gated: accept the licence at https://huggingface.co/facebook/sam3, then log in with `hf auth login` (or set HF_TOKEN)" in err
    assert "First: Ask for access on https://huggingface.co/facebook/sam3" in err
    assert not list((tmp_path / "home").glob("weights/sam3/*.json"))
    code, _, err = bench("run", "--models", "sam3/full", "--limit", "1", "--quiet")
    assert code == 2
    assert "`ldznet-bench download sam3` fetches it, too" in err


def test_sam3_with_a_login_is_downloaded_and_runs_without_a_socket(
    bench: Bench, hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from make_rivals import write_sam3

    made = write_sam3(tmp_path / "made")
    values = json.loads((made / "preprocessor_config.json").read_text())
    files = {path.name: path.read_bytes() for path in made.iterdir() if path.name != "preprocessor_config.json"}
    hosts.hub.add("facebook/sam3", {**files, "processor_config.json": json.dumps({"image_processor": values}).encode()}, gated=True)
    monkeypatch.setenv("HF_TOKEN", hosts.hub.token)
    download(bench, "sam3")

    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", refuse)
        code, out, err = bench("run", "--models", "sam3/full+semantic,sam3/full+instances", "--limit", "3", "--json", "--quiet")
    assert code == 0, err
    assert [run["model"] for run in json.loads(out)["runs"]] == ["sam3/full+semantic", "sam3/full+instances"]


def test_a_variant_brings_its_own_parts_and_says_how_it_is_run(bench: Bench, hosts: Hosts) -> None:
    card = serve_weights(hosts, "clipseg")
    assert [one["name"] for one in download(bench, "clipseg", "--card", card)["done"]] == ["clipseg:rd64-refined"]
    said = download(bench, "clipseg/authors", "--card", card)["done"]
    assert [one["name"] for one in said] == ["clipseg:authors-rd64-refined", "clipseg:clip-vit-base-patch16"]
    assert said[0]["next"] == "ldznet-bench run --models clipseg/authors --datasets DATASET"
    code, _, err = bench("download", "clipseg/author")
    assert code == 2
    assert "Did you mean 'authors'" in err
