import json
from pathlib import Path

import numpy as np
import pytest

from hemabridge.errors import ManifestError
from hemabridge.imaging.files import write_image
from hemabridge.workflows.audit import audit_manifest
from hemabridge.workflows.index import index


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    """Two sites of noise that share one image."""
    rng = np.random.default_rng(0)
    shared = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
    for site in ("one", "two"):
        write_image(tmp_path / site / "a/shared.png", shared)
        write_image(tmp_path / site / "a/own.png", rng.integers(0, 255, (32, 32, 3), dtype=np.uint8))
        index(tmp_path / site, site)
    return tmp_path


def test_writes_what_it_returns(sites: Path) -> None:
    out = sites / "out" / "audit.json"
    found = audit_manifest(sites / "one/manifest.csv", other=sites / "two/manifest.csv", out=out)
    assert [group.crosses for group in found.duplicates] == [("manifest", "site")]
    assert json.loads(out.read_text()) == json.loads(found.to_json())


def test_writes_nothing_unasked_and_looks_at_one_site_too(sites: Path) -> None:
    before = sorted(sites.rglob("*"))
    assert audit_manifest(sites / "one/manifest.csv").n_images == 2
    assert sorted(sites.rglob("*")) == before


def test_each_manifest_has_its_own_root(sites: Path) -> None:
    for site in ("one", "two"):
        (sites / site / "manifest.csv").rename(sites / f"{site}.csv")
    with pytest.raises(ManifestError, match="--root"):
        audit_manifest(sites / "one.csv")
    found = audit_manifest(sites / "one.csv", root=sites / "one", other=sites / "two.csv", other_root=sites / "two")
    assert found.n_images == 4
