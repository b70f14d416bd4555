"""The rules again, one line per subset, as an oracle."""

from hypothesis import given
from hypothesis import strategies as st

from ldznet_bench.datasets.phrasecut_subsets import SUBSETS, Phrase, Ranks, subsets_of
from ldznet_bench.datasets.phrasecut_words import ATTRIBUTE_TYPES, WordLists

CATEGORIES = {f"cat{n}": n for n in range(600)}
ATTRIBUTES = {f"att{n}": n for n in range(300)}
WORDS = WordLists({kind: frozenset({f"{kind}0", f"{kind}1", "shared"}) for kind in ATTRIBUTE_TYPES}, frozenset({"cat3", "cup"}), ("mat", "sea"))
NAMES = st.sampled_from(["cat0", "cat19", "cat20", "cat99", "cat100", "cat499", "cat500", "cat599", "unknown", "cup", "tomato", "seat", "mat", ""])
WORD = st.sampled_from(["att0", "att19", "att20", "att99", "att100", "att199", "att200", "att201", "att299", "color0", "bad1", "shared", "?"])


def oracle(p):
    r = CATEGORIES.get(p.name, 501)
    ranks = [ATTRIBUTES.get(a, 201) for a in p.attributes] + [201]
    a, n, m = min(ranks), len(p.attributes), p.relations
    rules = {
        "all": True,
        "c_coco": p.name in WORDS.coco,
        "c20": r < 20,
        "c100": r < 100,
        "c500": r < 500,
        "c21-100": 20 <= r < 100,
        "c101-500": 100 <= r < 500,
        "c500+": r >= 500,
        "i_single": p.boxes == 1,
        "i_multi": 2 <= p.boxes <= 4,
        "i_many": p.boxes >= 5,
        "p_name": p.kind == "name",
        "p_att": n >= 1,
        "p_att+": p.kind == "attribute",
        "p_rel": m >= 1,
        "p_rel+": p.kind == "relation",
        "p_verbose": p.kind == "verbose",
        "p_attm": n >= 2,
        "p_relm": m >= 2,
        "t_stuff": "mat" in p.name or "sea" in p.name,
        "t_obj": not ("mat" in p.name or "sea" in p.name),
        "s_small": p.relative_size < 0.02,
        "s_mid": 0.02 <= p.relative_size <= 0.2,
        "s_large": p.relative_size > 0.2,
        "a20": a < 20,
        "a100": a < 100,
        "a200": a < 200,
        "a21-100": 20 <= a < 100,
        "a101-200": 100 <= a < 200,
        "a200+": a >= 200,
        **{f"a_{kind}": any(x in WORDS.attributes[kind] for x in p.attributes) for kind in ATTRIBUTE_TYPES},
        "p_att_rel": n >= 1 and m >= 1,
        "d_cocotv": p.in_coco,
        "d_notcocotv": not p.in_coco,
    }
    return tuple(name for name in SUBSETS if rules[name])


@given(
    st.builds(
        Phrase,
        name=NAMES,
        attributes=st.lists(WORD, max_size=3),
        relations=st.integers(0, 3),
        kind=st.sampled_from(["name", "attribute", "relation", "verbose", "other"]),
        boxes=st.integers(0, 7),
        relative_size=st.sampled_from([0.0, 0.0199999, 0.02, 0.1, 0.2, 0.2000001, 1.0]),
        in_coco=st.booleans(),
    )
)
def test_subsets_follow_the_rules(phrase):
    assert subsets_of(phrase, Ranks(CATEGORIES, ATTRIBUTES), WORDS) == oracle(phrase)


def test_there_are_43():
    assert len(set(SUBSETS)) == len(SUBSETS) == 43
