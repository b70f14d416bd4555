"""The miniature's tokenizer: byte-pair encoding in CLIP's form, learned from minicut's words with Hugging Face `tokenizers`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from ldznet_bench.models.diffusion import TEMPLATES

START, END = "<|startoftext|>", "<|endoftext|>"
_MERGES = 4096  # more than the words need, so that each of them becomes one token


def write_tokenizer(folder: Path) -> None:
    """Write ``vocab.json``, ``merges.txt`` and ``tokenizer_config.json``; the same bytes every time.

    Every word of minicut's grammar and of the prompt templates is one token; any other text falls into bytes.
    """
    from ldznet_bench.minicut import vocabulary

    words = sorted({*vocabulary(), *(word for template in TEMPLATES for word in template.replace("{}", "").replace(".", "").split())})
    tokenizer: Any = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Ties between pairs are broken by the ids of their halves. Bytes that end a word would get theirs in the order of a hash table, another one in
    # every process: named beforehand, all ids are fixed.
    trainer = trainers.BpeTrainer(
        vocab_size=_MERGES,
        min_frequency=0,
        initial_alphabet=alphabet,
        special_tokens=[byte + "</w>" for byte in alphabet],
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(words, trainer)
    state = json.loads(tokenizer.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in state["merges"]]
    vocab = _clip_order(alphabet, merges)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "CLIPTokenizer", "bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _clip_order(alphabet: Sequence[str], merges: Sequence[str]) -> dict[str, int]:
    """Ids as CLIP numbers them: bytes, bytes that end a word, merges, start, end. The end must be the highest id."""
    tokens = [*alphabet, *(byte + "</w>" for byte in alphabet), *(pair.replace(" ", "") for pair in merges), START, END]
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}


def padded_ids(tokenizer: Any, prompts: Sequence[str], length: int) -> Tensor:  # noqa: ANN401 - transformers is untyped
    """Token ids (B, length), cut with the end token kept, padded with the end token: as `Diffusion.hidden` reads prompts."""
    rows = []
    for prompt in prompts:
        ids: list[int] = tokenizer(prompt, truncation=False, verbose=False)["input_ids"]
        ids = ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
        rows.append([*ids, *[ids[-1]] * (length - len(ids))])
    return torch.tensor(rows)
