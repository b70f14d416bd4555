"""A fetcher of one card over a local server, with little patience."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from acquiring import IMPATIENT, Bench, Notes
from make_mirror import Hosts
from mirror import Mirror

from ldznet_bench.acquisition.fetch import Fetcher, Preference
from ldznet_bench.acquisition.home import Home
from ldznet_bench.acquisition.ledger import Ledger
from ldznet_bench.acquisition.network import Network, Policy
from ldznet_bench.acquisition.specs import CardFiles, FileSpec
from ldznet_bench.cli import main


@pytest.fixture(scope="session")
def _one_server() -> Iterator[Mirror]:
    with Mirror() as mirror:
        yield mirror


@pytest.fixture
def server(_one_server: Mirror) -> Mirror:
    """A local server that serves nothing yet."""
    _one_server.served, _one_server.asked, _one_server.fallback = {}, [], lambda _path: None
    return _one_server


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def fetcher_of(home: Home) -> Callable[..., Fetcher]:
    """Makes a fetcher of a card with the given files, as a new process would."""

    def make(
        *items: FileSpec, policy: Policy = IMPATIENT, offline: bool = False, preference: Preference | None = None, **sections: object
    ) -> Fetcher:
        files = CardFiles("release", tuple(items), **sections)  # type: ignore[arg-type]
        network = Network(policy, offline)
        folder = home.datasets / files.root
        return Fetcher(home, files, folder, network, Ledger(home.ledger(folder)), Notes(), preference or Preference(), chunk=1 << 16)

    return make


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Certificates of a server on 127.0.0.1: one of yesterday, one for another name, one that is right; and the authority that made them."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl(
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=ca",
        "-days",
        "3650",
    )
    found: dict[str, tuple[Path, Path]] = {"authority": (folder / "ca.pem", folder / "ca.key")}
    for name, host, dates in (
        ("good", "IP:127.0.0.1", ("20200101000000Z", "20400101000000Z")),
        ("expired", "IP:127.0.0.1", ("20200101000000Z", "20210101000000Z")),
        ("elsewhere", "DNS:elsewhere.example", ("20200101000000Z", "20400101000000Z")),
    ):
        (folder / f"{name}.cnf").write_text(
            f"[req]\ndistinguished_name=d\nreq_extensions=e\nprompt=no\n[d]\nCN={name}\n[e]\nsubjectAltName={host}\n"
            "[ca]\ndefault_ca=c\n[c]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\ncopy_extensions=copy\n"
            "unique_subject=no\n[p]\nCN=supplied\n"
        )
        (folder / "index.txt").touch()
        (folder / "serial").write_text("01\n")
        openssl(
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
            "-config",
            f"{name}.cnf",
        )
        openssl(
            "ca",
            "-batch",
            "-config",
            f"{name}.cnf",
            "-in",
            f"{name}.csr",
            "-out",
            f"{name}.pem",
            "-cert",
            "ca.pem",
            "-keyfile",
            "ca.key",
            "-startdate",
            dates[0],
            "-enddate",
            dates[1],
            "-notext",
        )
        (folder / "index.txt").write_text("")
        found[name] = (folder / f"{name}.pem", folder / f"{name}.key")
    return found


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LDZNET_BENCH_HOME", str(tmp_path / "home"))

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main._run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return call


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    import huggingface_hub.constants as constants

    with Mirror() as mirror:
        found = Hosts(mirror, tmp_path / "world")
        monkeypatch.setenv("LDZNET_BENCH_DRIVE_ENDPOINT", mirror.base)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", mirror.base)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", mirror.base + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
        yield found
