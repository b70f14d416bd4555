"""Tiny trainings: every network of the miniature with a few thousand parameters."""

from __future__ import annotations

import dataclasses

import pytest
from training_help import order, run, tiny


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    return tmp_path_factory.mktemp("trainings")


@pytest.fixture(scope="session")
def frozen(places):
    """Published folders of a tiny autoencoder, text-image encoder and diffusion model."""
    ae = run(order(tiny("mini-autoencoder"), places))
    clip = run(order(tiny("mini-clip"), places))
    ldm = run(order(tiny("mini-ldm"), places, (ae, clip)))
    return ae, clip, ldm


@pytest.fixture
def quick(frozen, tmp_path):
    """A tiny training of a recipe, in a folder of its own: name, changes -> order."""

    def make(name, **changes):
        return order(dataclasses.replace(tiny(name), **changes), tmp_path, frozen)

    return make
