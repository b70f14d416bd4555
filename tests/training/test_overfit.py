"""Every segmentation network can learn: four samples by heart."""

import pytest
import torch
from training_help import Silent, order, tiny

from ldznet_bench.training.start import make_trainer

SIZES = {"block_out_channels": [16, 32, 32], "attention_head_dim": [1, 2, 2], "norm_num_groups": 8}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mini-znet-scratch", "mini-rgbnet-scratch", "mini-ldznet", "mini-clipseg"])
def test_four_samples_by_heart(name, frozen, tmp_path):
    recipe = tiny(name, templates=False, crop=(1.0, 1.0), learning_rate=2e-3, steps=1, ema=None)
    torch.set_num_threads(2)
    trainer = make_trainer(order(recipe, tmp_path, frozen), Silent())
    objective, optimiser = trainer.objective, torch.optim.Adam(trainer.trained.values(), lr=2e-3)
    batch = objective.draw(range(4))
    objective.train()
    for _ in range(1500):
        optimiser.zero_grad()
        loss = objective(*batch)
        loss.backward()
        optimiser.step()
        if float(loss.detach()) < 0.008:
            break
    masks, logits = batch[1][:, 0] > 0.5, predicted(objective, batch)
    inter, union = (masks & logits).flatten(1).sum(1), (masks | logits).flatten(1).sum(1)
    assert float((inter / union).min()) > 0.95, (name, float(loss.detach()), (inter / union).tolist())


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
