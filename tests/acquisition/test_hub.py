"""The Hugging Face Hub: tokens, gates, stated hashes, its own cache, repositories of unknown layout, REFER as parquet."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from acquiring import DATA, document, parquet, ref
from hosts import Hub
from mirror import Mirror, wrong_content

from ldznet_bench.acquisition.fetch import Fetcher, Refusal
from ldznet_bench.acquisition.ledger import Arrival
from ldznet_bench.acquisition.specs import FileSpec, HubFile, ReferParquet
from ldznet_bench.acquisition.specs import Mirror as MirrorSpec
from ldznet_bench.datasets.safe_pickle import load_plain_pickle

Make = Callable[..., Fetcher]
REPO = "owner/name"


@pytest.fixture
def hub(server: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server.base)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.base + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return Hub(server)


@pytest.fixture
def store() -> Iterator[Mirror]:
    with Mirror() as mirror:
        yield mirror


def on_hub(path: str = "a.json", name: str | None = None, **options: object) -> FileSpec:
    return FileSpec(path, (MirrorSpec(hub=HubFile(REPO, name or path)),), **options)  # type: ignore[arg-type]


def reason(fetcher: Fetcher, spec: FileSpec) -> str:
    result = fetcher.get(fetcher.job(spec))
    assert isinstance(result, Refusal), result
    return result.reasons[-1][1]


def test_a_small_and_a_large_file(hub: Hub, fetcher_of: Make) -> None:
    hub.add(REPO, {"small.json": b"[1]", "large.json": DATA})
    for spec in (on_hub("small.json"), on_hub("large.json")):
        fetcher = fetcher_of(spec)
        assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)


def test_the_hash_that_the_hub_states_is_checked(hub: Hub, fetcher_of: Make) -> None:
    hub.add(REPO, {"a.json": DATA})
    hub.mirror.served[f"/store/models/{REPO}@main/a.json"].script += [wrong_content] * 10
    spec = on_hub()
    assert "sha256" in reason(fetcher_of(spec), spec)


def test_a_gated_repository_says_where_to_accept(hub: Hub, fetcher_of: Make) -> None:
    hub.add(REPO, {"a.json": DATA}, gated=True)
    spec = on_hub()
    told = reason(fetcher_of(spec), spec)
    assert f"accept the licence at https://huggingface.co/{REPO}" in told
    assert "hf auth login" in told


def test_a_repository_that_is_gone_or_private(hub: Hub, fetcher_of: Make) -> None:
    spec = on_hub()
    assert f"open https://huggingface.co/{REPO}" in reason(fetcher_of(spec), spec)


def test_the_token_opens_the_gate_and_stays_on_its_host(hub: Hub, store: Mirror, fetcher_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.store = store
    hub.add(REPO, {"a.json": DATA}, gated=True)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    spec = on_hub()
    fetcher = fetcher_of(spec)
    # 127.0.0.1 and localhost are two hosts to a client, as huggingface.co and its store are.
    monkeypatch.setattr(
        type(store), "base", property(lambda self: f"http://{'localhost' if self is store else '127.0.0.1'}:{self.server.server_address[1]}")
    )
    assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)
    assert all("authorization" in asked.headers for asked in hub.mirror.asked)
    assert store.asked
    assert not any("authorization" in asked.headers for asked in store.asked)


def test_netrc_does_not_take_the_tokens_place(hub: Hub, fetcher_of: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HF_TOKEN", hub.token)
    hub.add(REPO, {"a.json": b"[1]"}, gated=True)
    spec = on_hub()
    fetcher = fetcher_of(spec)
    assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)


def test_netrc_is_used_where_there_is_no_token(server: Mirror, fetcher_of: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    spec = FileSpec("a.json", (MirrorSpec(https=server.add("/a", b"[1]")),))
    fetcher = fetcher_of(spec)
    fetcher.get(fetcher.job(spec))
    assert server.asked[0].headers["authorization"].startswith("Basic ")


def test_a_proxy_is_used(server: Mirror, fetcher_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    server.served["http://files.invalid/a.json"] = server.served.setdefault("/a.json", server.served.get("/a.json")) or _served(b"[1]")
    monkeypatch.setenv("http_proxy", server.base)
    monkeypatch.setenv("no_proxy", "")
    spec = FileSpec("a.json", (MirrorSpec(https="http://files.invalid/a.json"),))
    fetcher = fetcher_of(spec)
    assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)


def _served(content: bytes):
    from mirror import Served

    return Served(content)


def test_what_another_program_put_into_the_hubs_cache_is_taken(hub: Hub, fetcher_of: Make, tmp_path: Path) -> None:
    snapshot = tmp_path / "hf" / "models--owner--name" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "a.json").write_bytes(DATA)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("abc")
    spec = on_hub()
    fetcher = fetcher_of(spec, offline=True)
    assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)
    assert not hub.mirror.asked


def test_the_hubs_own_offline_switch(hub: Hub, fetcher_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.add(REPO, {"a.json": DATA})
    spec = on_hub()
    assert "HF_HUB_OFFLINE" in reason(fetcher_of(spec), spec)
    assert not hub.mirror.asked


def test_a_file_in_a_repository_of_unknown_layout(hub: Hub, fetcher_of: Make) -> None:
    hub.add(REPO, {"some/where/a.json": DATA, "xa.json": b"[]", "b.json": b"[]"})
    spec = on_hub("a.json", "**/a.json")
    fetcher = fetcher_of(spec)
    assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)
    assert (fetcher.folder / "a.json").read_bytes() == DATA


@pytest.mark.parametrize("files", [{"b.json": b"[]"}, {"x/a.json": b"[]", "y/a.json": b"[]"}])
def test_a_file_that_is_not_there_or_there_twice(hub: Hub, fetcher_of: Make, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    spec = on_hub("a.json", "**/a.json")
    assert "does not hold one a.json" in reason(fetcher_of(spec), spec)


@pytest.mark.parametrize("listing", [b"{}", b"[1]", b'[{"type": "file", "path": "../x"}]', b"[" * 5000])
def test_a_listing_that_cannot_be_read(hub: Hub, fetcher_of: Make, listing: bytes) -> None:
    hub.mirror.add(f"/api/models/{REPO}/tree/main", listing)
    spec = on_hub("a.json", "**/a.json")
    told = reason(fetcher_of(spec), spec)
    assert "cannot be read" in told or "does not hold" in told


def test_refer_from_parquet_keeps_every_polygon_and_split(hub: Hub, fetcher_of: Make) -> None:
    tables = {
        f"data/{split}-00000-of-00001-ab12.parquet": parquet([ref(n, mark)])
        for n, (split, mark) in enumerate((("train", "train"), ("test", "testA")))
    }
    hub.add(REPO, tables, kind="dataset")
    mirrors = (MirrorSpec(refer_parquet=ReferParquet(REPO)),)
    specs = (FileSpec("refcoco/refs(unc).p", mirrors), FileSpec("refcoco/instances.json", mirrors))
    fetcher = fetcher_of(*specs)
    for spec in specs:
        assert isinstance(fetcher.get(fetcher.job(spec)), Arrival)
    refs = load_plain_pickle(fetcher.folder / "refcoco" / "refs(unc).p")
    instances = json.loads((fetcher.folder / "refcoco" / "instances.json").read_text())
    assert [one["split"] for one in refs] == ["train", "testA"]
    assert refs[1]["sentences"] == [{"sent_id": 10, "sent": "the box 1", "raw": "The Box, #1", "tokens": ["the", "box"]}]
    assert [len(one["segmentation"]) for one in instances["annotations"]] == [2, 2]


def test_refer_from_parquet_pins_nothing(hub: Hub, server: Mirror, fetcher_of: Make) -> None:
    hub.add(REPO, {"data/train-00000-of-00001.parquet": parquet([ref(1, "train")])}, kind="dataset")
    spec = FileSpec("refcoco/instances.json", (MirrorSpec(refer_parquet=ReferParquet(REPO)),))
    fetcher = fetcher_of(spec)
    fetcher.get(fetcher.job(spec))
    (fetcher.folder / spec.path).unlink()
    original = FileSpec(spec.path, (MirrorSpec(https=server.add("/original", document())),))
    fetcher = fetcher_of(original)
    assert isinstance(fetcher.get(fetcher.job(original)), Arrival)


@pytest.mark.parametrize("rows", [[{"x": 1}], [ref(1, "train"), ref(1, "val")], [ref(1, "train") | {"raw_anns": "not json"}]])
def test_tables_of_another_form(hub: Hub, fetcher_of: Make, rows: list[dict]) -> None:
    hub.add(REPO, {"data/train-00000-of-00001.parquet": parquet(rows)}, kind="dataset")
    spec = FileSpec("refcoco/instances.json", (MirrorSpec(refer_parquet=ReferParquet(REPO)),))
    assert "not of the expected form" in reason(fetcher_of(spec), spec)


def test_the_pickle_is_the_same_whatever_the_order_of_tables(hub: Hub, tmp_path: Path) -> None:
    from ldznet_bench.acquisition.refer_parquet import refs_of

    paths = []
    for number in range(2):
        paths.append(tmp_path / f"{number}.parquet")
        paths[-1].write_bytes(parquet([ref(number, "train")]))
    assert refs_of(paths) == refs_of(paths[::-1])
    assert hashlib.sha256(refs_of(paths)).hexdigest() == hashlib.sha256(pickle.dumps(load_refs(refs_of(paths)), 2)).hexdigest()


def load_refs(content: bytes) -> object:
    return pickle.loads(content)
