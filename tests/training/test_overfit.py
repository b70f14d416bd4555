"""Every segmentation network can learn: four samples by heart."""

import pytest
import torch
from training_help import Silent, order, tiny

from ldznet_bench.training.start import make_trainer

STEPS, RATE = 2000, 2e-3


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["mini-znet-scratch", "mini-rgbnet-scratch", "mini-ldznet", "mini-clipseg"])
def test_four_samples_by_heart(name, frozen, tmp_path):
    recipe = tiny(name, templates=False, crop=(1.0, 1.0), steps=1, ema=None)
    torch.set_num_threads(1)
    trainer = make_trainer(order(recipe, tmp_path, frozen), Silent())
    objective, optimiser = trainer.objective, torch.optim.Adam(trainer.trained.values())
    batch = four_large(objective.draw(range(240)))
    objective.train()
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = RATE * min(1, (step + 1) / 50) * (1 - step / STEPS)
        optimiser.zero_grad()
        loss = objective(*batch)
        loss.backward()
        optimiser.step()
        if step % 50 == 49 and float(lowest_iou(objective, batch)) > 0.95:
            break
    assert float(lowest_iou(objective, batch)) > 0.95, (name, step, float(loss.detach()))


def four_large(batch):
    """The first four samples whose mask covers a quarter to half of the picture: a smaller mask is mostly outline at 96 px."""
    area = batch[1][:, 0].flatten(1).mean(1)
    chosen = torch.nonzero((area > 0.25) & (area < 0.5))[:4, 0]
    assert len(chosen) == 4
    return tuple(value[chosen] for value in batch)


def lowest_iou(objective, batch):
    """Of the samples of a batch."""
    masks, marked = batch[1][:, 0] > 0.5, predicted(objective, batch)
    return ((masks & marked).flatten(1).sum(1) / (masks | marked).flatten(1).sum(1)).min()


@torch.no_grad()
def predicted(objective, batch):
    """What the network marks on the batch that it was trained on."""
    seen = {}

    def keep(logits, _masks):
        seen["logits"] = logits
        return logits.sum()

    from ldznet_bench.training import clipseg_decoder, segmentation

    module = clipseg_decoder if hasattr(objective.network, "clip") else segmentation
    original = module.F.binary_cross_entropy_with_logits
    module.F.binary_cross_entropy_with_logits = keep
    try:
        objective(*batch)
    finally:
        module.F.binary_cross_entropy_with_logits = original
    return seen["logits"][:, 0] > 0
