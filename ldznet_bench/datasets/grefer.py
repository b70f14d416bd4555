"""gRefCOCO: REFER's layout with refs as JSON, of which each names any number of objects, or none. Format: grefer.py and grefcoco.py of ReLA."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ldznet_bench.datasets.fields import Fields
from ldznet_bench.datasets.jsonstream import read_array
from ldznet_bench.datasets.refer import Box, Index, Refer
from ldznet_bench.datasets.sample import ImageFile, Sample

NOTHING = -1  # the annotation id of a ref without target


class GRefer(Refer):
    """One split; every sentence is a sample, tagged ``no-target``, ``single-target`` or ``multi-target``. Crowds are left out, as ReLA does."""

    version = 1
    refs_names = ("grefs({}).json", "grefs({}).p")

    def elements(self) -> Iterable[Any]:
        """See `Refer.elements`."""
        return super().elements() if self.refs.suffix == ".p" else read_array(self.refs)

    def targets(self, ref: Fields) -> list[int]:
        """Annotation ids of what a ref names; empty where it names nothing."""
        idents = target_ids(ref)
        if ref.value.get("no_target") and idents:
            ref.fail(f"it is marked no_target and names annotation {idents[0]}")
        return idents

    def sentences(self, ref: Fields, index: Index) -> Iterator[tuple[ImageFile, Sample]]:
        """See `Refer.sentences`."""
        image = self.image(ref, index)
        idents = [ident for ident in self.targets(ref) if ident not in index.crowds]
        found = [self.annotation(ref, ident, index) for ident in idents]
        for ident, (_, box) in zip(idents, found, strict=True):
            _refuse_box_outside(ref, ident, box, image)
        tag = ("no-target", "single-target", "multi-target")[min(len(found), 2)]
        yield from self.samples(ref, image, tuple(one for one, _ in found), tuple(box for _, box in found), _category(ref, index), tag)


def target_ids(ref: Fields) -> list[int]:
    """``ann_id``: a number or a list of them; [-1] is nothing."""
    value = ref.value.get("ann_id")
    idents: list[Any] = value if isinstance(value, list) else [value]
    if not idents or not all(type(ident) is int for ident in idents) or (NOTHING in idents and len(idents) > 1):
        ref.fail("'ann_id' should be one or several annotation ids, or [-1] for no target")
    return [] if idents == [NOTHING] else list(dict.fromkeys(idents))


def _category(ref: Fields, index: Index) -> str | None:
    """The one category of all targets; None where there are several, or none."""
    value = ref.value.get("category_id")
    names = {index.categories.get(ident) for ident in (value if isinstance(value, list) else [value]) if isinstance(ident, int)}
    return names.pop() if len(names) == 1 else None


def _refuse_box_outside(ref: Fields, ident: int, box: Box, image: ImageFile) -> None:
    x, y, width, height = box
    if x >= image.width or y >= image.height or x + width <= 0 or y + height <= 0 or width < 0 or height < 0:
        ref.fail(f"the box of its annotation {ident} lies outside its image of {image.width}x{image.height}: {list(box)}")
