"""Networks through the command line: seeded weights, tiny sizes."""

from __future__ import annotations

from make_clipseg import make_authors_pair


def test_decoder_of_clipsegs_authors(bench, tmp_path):
    decoder, clip, _ = make_authors_pair(tmp_path / "made", refined=True)
    said = bench("convert", decoder, "--dry-run", "--clip", clip)
    assert said.code == 0
    assert "set aside         2 tensors: a layer that the authors' network makes and never calls" in said.out
    assert "nothing left over" in said.out
    assert bench("convert", decoder, "--dry-run").code == 2, "sizes of ViT-B/16 are expected where no CLIP is named"
    assert "Add --clip DIR" in bench("convert", decoder, tmp_path / "no").err or not (tmp_path / "no").exists()
    assert bench("convert", decoder, tmp_path / "clipseg", "--clip", clip).code == 0
    ran = bench("run", "--models", "clipseg/full", "--weights", f"clipseg={tmp_path / 'clipseg'}", "--limit", "2", "--quiet")
    assert ran.code == 0, ran.err
    weights = ("--weights", f"clipseg={decoder}", "--weights", f"clip={clip}")
    ran = bench("run", "--models", "clipseg/authors+paper", *weights, "--limit", "2", "--quiet", "--json")
    assert ran.code == 0, ran.err
    assert "clipseg/authors+paper" in ran.out
