import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phrase_oracle import described, meaning

from ldznet_bench.minicut import vocabulary
from ldznet_bench.minicut.draw import lay_out
from ldznet_bench.minicut.draws import Draws
from ldznet_bench.minicut.phrases import chosen_phrases, chosen_sentences, plain_phrases, refer_phrases
from ldznet_bench.minicut.scene import draw_scene
from ldznet_bench.minicut.splits import SIZES, labelled
from ldznet_bench.minicut.words import CAPTION_ONLY

SEEDS = st.integers(0, 2**40)


def layout_of(seed, herd):
    return lay_out(draw_scene(Draws("tests", seed), 30, herd))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans())
def test_every_phrase_means_what_the_slow_evaluator_says(seed, herd):
    layout = layout_of(seed, herd)
    for phrase in (*plain_phrases(layout), *refer_phrases(layout)):
        assert meaning(layout.scene, phrase.text) == phrase.truth, phrase


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_relations_occur_only_where_no_attributes_would_do(seed):
    layout = layout_of(seed, False)
    everything = described(layout.scene)
    for phrase in plain_phrases(layout):
        if phrase.kind != "relation":
            continue
        same = [(number, attributes - {None}) for number, (noun, attributes) in enumerate(everything) if noun == phrase.noun]
        words = set().union(*(attributes for _, attributes in same))
        for length in range(4):
            for chosen in itertools.combinations(sorted(words), length):
                assert {number for number, attributes in same if set(chosen) <= attributes} != phrase.truth, phrase


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_distractors_are_other_entities_of_the_noun(seed):
    layout = layout_of(seed, False)
    for phrase in plain_phrases(layout):
        others = {number for number, (noun, _) in enumerate(described(layout.scene)) if noun == phrase.noun} - phrase.truth
        assert phrase.distractor == bool(others), phrase


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_chosen_phrases_mean_different_things(seed):
    layout = layout_of(seed, False)
    phrases = chosen_phrases(layout, Draws(seed))
    assert len({phrase.truth for phrase in phrases}) == len({phrase.text for phrase in phrases}) == len(phrases) <= 6


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_sentences_single_out_one_of_several(seed):
    layout = layout_of(seed, True)
    sentences = chosen_sentences(layout, Draws(seed))
    nouns = [noun for noun, _ in described(layout.scene)]
    assert all(len(sentence.truth) == 1 and nouns.count(sentence.noun) >= 2 and sentence.distractor for sentence in sentences)
    assert len({sentence.truth for sentence in sentences}) == len(sentences)


def test_words_are_those_of_the_vocabulary():
    words = set(vocabulary())
    for domain, split in (("photo", "test"), ("refer", "test")):
        for index in range(40):
            item = labelled(domain, split, index)
            for text in (item.caption, *(phrase.text for phrase in item.phrases)):
                assert set(text.replace(",", "").split()) <= words, text


def test_the_mix_of_phrases():
    phrases = [phrase for index in range(80) for phrase in labelled("photo", "val", index).phrases]
    plain = [phrase for phrase in phrases if phrase.kind == "attribute"]
    assert sum(phrase.distractor for phrase in plain) >= 0.6 * len(plain)
    share = {kind: sum(phrase.kind == kind for phrase in phrases) / len(phrases) for kind in ("name", "attribute", "relation")}
    assert 0.15 < share["name"] < 0.35 and 0.45 < share["attribute"] < 0.65 and 0.12 < share["relation"] < 0.3
    assert 5 <= len(phrases) / 80 <= 6


@pytest.mark.parametrize("split", ["train", "val"])
def test_no_scene_of_train_or_val_has_a_caption_only_noun(split):
    for index in range(0, SIZES[split], 25):
        assert not {thing.noun for thing in labelled("photo", split, index).layout.scene.things} & set(CAPTION_ONLY)
