"""docs/datasets.md says what the cards say."""

from __future__ import annotations

from pathlib import Path

from ldznet_bench.acquisition.document import document
from ldznet_bench.cards import card_names

PAGE = Path(__file__).parent.parent.parent / "docs" / "datasets.md"


def test_the_page_is_written_from_the_cards() -> None:
    assert PAGE.read_text() == document(), "run: python -m ldznet_bench.acquisition.document docs/datasets.md"


def test_every_dataset_is_in_it() -> None:
    text = document()
    assert all(f"`{name}" in text for name in card_names("datasets"))
    assert "2547905472dbc0c60d9243c39fb903473e49978610626f8dd981fa6d7c36d664" in text
    assert "1oZDJu5Y7nqN23Fcb6kCvXy1Do69l_YkQ" in text


def test_its_example_of_a_files_section_can_be_read(tmp_path: Path) -> None:
    from ldznet_bench.acquisition.specs import CardFiles
    from ldznet_bench.cards import read_card

    example = document().split("```yaml\nfiles:\n")[1].split("```")[0]
    (tmp_path / "card.yaml").write_text("\n".join(line[2:] for line in example.splitlines()))
    files = read_card(tmp_path / "card.yaml", CardFiles)
    assert len(files.files) == 4
    assert files.folder is not None
