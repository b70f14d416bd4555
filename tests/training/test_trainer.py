"""The loop: same seed same weights, interrupted or not; what is kept; what stops it."""

import json
import shutil

import pytest
import torch
from training_help import Remembers, Silent, order, run, same, tiny, weights

from ldznet_bench.errors import BenchError, RunError
from ldznet_bench.training.start import make_trainer, weight_hashes
from ldznet_bench.training.trainer import learning_rate


class Stop(Exception):
    pass


def interrupted(its, at):
    """Run until the weights of step `at` are about to be changed, then fall."""
    trainer = make_trainer(its, Silent())
    real = trainer._one_step

    def falls():
        if trainer.step == at:
            raise Stop
        return real()

    trainer._one_step = falls
    with pytest.raises(Stop):
        trainer.run()


@pytest.mark.parametrize("name", ["mini-autoencoder", "mini-clip"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_resumed_anywhere_it_ends_in_the_same_bits(name, at, tmp_path):
    whole = run(order(tiny(name), tmp_path / "whole"))
    broken = order(tiny(name), tmp_path / "broken")
    interrupted(broken, at)
    assert same(weights(run(broken)), weights(whole))


@pytest.mark.parametrize("name", ["mini-ldm", "mini-ldznet", "mini-clipseg"])
def test_the_same_with_frozen_networks(name, frozen, tmp_path):
    whole = run(order(tiny(name), tmp_path / "whole", frozen))
    broken = order(tiny(name), tmp_path / "broken", frozen)
    interrupted(broken, 3)
    assert same(weights(run(broken)), weights(whole))


def test_another_seed_gives_other_weights(tmp_path):
    assert not same(weights(run(order(tiny("mini-autoencoder"), tmp_path))), weights(run(order(tiny("mini-autoencoder"), tmp_path, seed=1))))


def test_accumulating_changes_no_sample(tmp_path):
    """Mean over micro-batches of equal size is the mean over the batch, up to the order of sums."""
    one = run(order(tiny("mini-autoencoder", batch_size=4, precision="fp32", learning_rate=0.001), tmp_path / "one"))
    two = run(order(tiny("mini-autoencoder", batch_size=4, precision="fp32", learning_rate=0.001, accumulate=2), tmp_path / "two"))
    for left, right in zip(weights(one).values(), weights(two).values(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


def test_what_is_kept(tmp_path):
    its = order(tiny("mini-autoencoder"), tmp_path)
    watcher = Remembers()
    run(its, watcher)
    names = sorted(path.name for path in its.folder.iterdir())
    assert [name for name in names if not name.startswith(("step-", "."))] == ["best.json", "final", "last.json", "log.jsonl", "recipe.json"]
    kept = {json.loads((its.folder / f"{which}.json").read_text())["checkpoint"] for which in ("last", "best")}
    assert {name for name in names if name.startswith("step-")} == kept
    assert "step-000004" in kept
    assert set(watcher.figures) == {2, 4}
    lines = [json.loads(line) for line in (its.folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "validation" in line] == [2, 4]
    manifest = json.loads((its.folder / "final" / "manifest.json").read_text())
    assert manifest["made_from"]["seed"] == 0
    assert manifest["made_from"]["recipe"]["name"] == "mini-autoencoder"


def test_finished_is_finished(tmp_path):
    its = order(tiny("mini-autoencoder"), tmp_path)
    final = run(its)
    before = {path: path.stat().st_mtime_ns for path in its.folder.rglob("*")}
    assert run(its) == final
    assert {path: path.stat().st_mtime_ns for path in its.folder.rglob("*")} == before


@pytest.mark.parametrize("finished", [True, False])
def test_another_training_in_the_folder_is_refused_and_the_difference_named(finished, tmp_path):
    run(order(tiny("mini-autoencoder", learning_rate=0.001), tmp_path))
    if not finished:
        shutil.rmtree(tmp_path / "mini-autoencoder-seed0" / "final")
    with pytest.raises(RunError, match=r"recipe\.learning_rate is 0\.001 there, 0\.5 here"):
        run(order(tiny("mini-autoencoder", learning_rate=0.5), tmp_path))


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(tmp_path):
    its = order(tiny("mini-autoencoder", steps=6), tmp_path)
    trainer = make_trainer(its, Silent())
    real = trainer.objective.draw
    trainer.objective.draw = lambda places: (torch.full_like(real(places)[0], float("nan")), real(places)[1]) if places[0] >= 6 else real(places)
    with pytest.raises(BenchError, match=r"loss of step 4 is not a number.*state of step 2 is kept"):
        trainer.run()
    state = trainer.checkpoints.load()
    assert state.step == 2
    assert all(bool(value.isfinite().all()) for value in state.network.values())


def test_an_interrupted_save_is_not_there(tmp_path, monkeypatch):
    its = order(tiny("mini-autoencoder"), tmp_path)
    trainer = make_trainer(its, Silent())
    from ldznet_bench.training import checkpoints

    real = checkpoints.write_json

    def falls(path, value):
        if path.name == "manifest.json" and value.get("step") == 4:
            raise Stop
        real(path, value)

    monkeypatch.setattr(checkpoints, "write_json", falls)
    with pytest.raises(Stop):
        trainer.run()
    monkeypatch.undo()
    assert trainer.checkpoints.load().step == 2
    whole = run(order(tiny("mini-autoencoder"), tmp_path / "whole"))
    assert same(weights(run(its)), weights(whole))
    assert not list(its.folder.glob(".step-*"))


def test_a_damaged_checkpoint_is_named(tmp_path):
    its = order(tiny("mini-autoencoder"), tmp_path)
    interrupted(its, 3)
    file = its.folder / "step-000002" / "optimiser.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(BenchError, match=r"optimiser\.safetensors is not what its manifest says"):
        run(its)


@pytest.mark.parametrize("file", ["recipe.json", "last.json", "step-000002/manifest.json"])
@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_damaged_json_is_named(file, text, tmp_path):
    its = order(tiny("mini-autoencoder"), tmp_path)
    interrupted(its, 3)
    (its.folder / file).write_text(text)
    with pytest.raises(BenchError, match=file if (file, text) != ("recipe.json", "{}") else "holds another training"):
        run(its)


def test_a_damaged_step_can_be_taken_away(tmp_path):
    """As its error says: the training goes on from an older step, or from nothing, to the same bits."""
    whole = run(order(tiny("mini-autoencoder"), tmp_path / "whole"))
    for gone in (["step-000003"], ["step-000002", "step-000003"]):
        its = order(tiny("mini-autoencoder"), tmp_path / gone[0])
        interrupted(its, 3)
        newer = its.folder / "step-000003"
        shutil.copytree(its.folder / "step-000002", newer)
        (its.folder / "last.json").write_text('{"checkpoint": "step-000003"}')
        for name in gone:
            shutil.rmtree(its.folder / name)
        assert same(weights(run(its)), weights(whole))
        shutil.rmtree(tmp_path / gone[0])


def test_a_training_older_than_a_key_of_recipes_is_still_that_training(tmp_path):
    its = order(tiny("mini-autoencoder"), tmp_path)
    final = run(its)
    path = its.folder / "recipe.json"
    kept = json.loads(path.read_text())
    del kept["recipe"]["recentre"]
    path.write_text(json.dumps(kept))
    assert run(its) == final


def test_what_is_published_in_several_goes_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    its = order(tiny("mini-clip"), tmp_path)
    trainer = make_trainer(its, Silent())

    def falls(_folder):
        raise Stop

    monkeypatch.setattr(trainer.objective.network, "save_pretrained", falls)  # the second of two
    with pytest.raises(Stop):
        trainer.run()
    final = run(its)
    assert (final / "clip" / "model.safetensors").is_file()
    assert not list(its.folder.glob(".publish*"))


def scaled(its):
    """A training whose gradients are scaled as in fp16, which accelerate does on a GPU alone."""
    trainer = make_trainer(its, Silent())
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu")
    trainer._wrapped = trainer.objective
    return trainer


def test_gradients_of_fp16_are_unscaled_and_an_overflow_changes_nothing(tmp_path):
    half = scaled(order(tiny("mini-autoencoder", clip_norm=1e6), tmp_path))
    seen = []
    half.optimiser.register_step_pre_hook(lambda *_: seen.append(torch.stack([value.grad.norm() for value in half.trained.values()]).norm()))
    half._one_step()
    assert 0 < float(seen[0]) < 100  # 65,536 times that where they are not
    before = {name: value.detach().clone() for name, value in half.trained.items()}
    next(iter(half.trained.values())).register_hook(lambda gradient: gradient * float("inf"))
    half._one_step()
    assert same(before, {name: value.detach() for name, value in half.trained.items()})


def test_the_scale_of_fp16_is_kept_too(tmp_path):
    its = order(tiny("mini-autoencoder"), tmp_path)
    half = scaled(its)
    half._one_step()
    half.accelerator.scaler.update(new_scale=8.0)
    half.step = 1
    half._keep()
    again = scaled(its)
    again._resume()
    assert again.accelerator.scaler.state_dict() == half.accelerator.scaler.state_dict()


def test_the_moving_average_is_what_is_published_and_validated(tmp_path):
    its = order(tiny("mini-autoencoder"), tmp_path)
    final = run(its)
    state = weights(its.folder / "step-000004")
    published = weights(final)
    name = "vae/diffusion_pytorch_model.safetensors:encoder.conv_in.weight"
    assert torch.equal(published[name], state["average.safetensors:encoder.conv_in.weight"])
    assert not torch.equal(published[name], state["network.safetensors:encoder.conv_in.weight"])


def test_the_average_follows_the_weights_as_written():
    trainer = make_trainer(order(tiny("mini-autoencoder", ema=0.9), "unused"), Silent())
    name = next(iter(trainer.trained))
    start = trainer.trained[name].detach().clone()
    expected = start.clone()
    for step in range(3):
        trainer.step = step
        with torch.no_grad():
            trainer.trained[name].add_(1.0)
        trainer._follow()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (start + step + 1)
    torch.testing.assert_close(trainer.average[name], expected)


def test_the_rate_rises_then_falls():
    recipe = tiny("mini-autoencoder", steps=11, warmup=2, learning_rate=1.0)
    rates = [learning_rate(recipe, step) for step in range(11)]
    assert rates[:2] == [0.5, 1.0]
    assert rates[2] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.01)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_a_second_process_in_the_folder_is_refused(tmp_path):
    its = order(tiny("mini-autoencoder"), tmp_path)
    first = make_trainer(its, Silent())
    with first.checkpoints.held(), pytest.raises(RunError, match=r"another process is training in .*mini-autoencoder-seed0"):
        run(its)
    run(its)


def test_weights_of_one_name_in_two_folders_are_both_in_the_identity(tmp_path):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "model.safetensors").write_bytes(place.encode())
    both = weight_hashes([tmp_path / "a", tmp_path / "b"])
    assert len(set(both.values())) == 2
    assert both != weight_hashes([tmp_path / "b", tmp_path / "a"])
