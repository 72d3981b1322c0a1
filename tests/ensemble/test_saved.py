import json
from pathlib import Path

import numpy as np

from hemabridge.ensemble.fit import FittedEnsemble
from hemabridge.ensemble.members import Members
from hemabridge.ensemble.saved import SavedEnsemble, write_normalizers
from hemabridge.normalizers.by_subdomain import BySubdomain
from hemabridge.normalizers.catalog import fit_normalizer


def test_the_looks_of_a_site_and_their_restainings_are_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    subdomains = [
        np.clip(rng.normal(field, 5, (4, 8, 8, 3)), 0, 255).astype(np.uint8) for field in ((250, 240, 130), 245)
    ]
    fitted = [(images, fit_normalizer("white-point", images, images)) for images in subdomains]
    own = BySubdomain.of(fitted, subdomains[0])  # type: ignore[arg-type]
    named = {"#faf082": ("white-point",), "#f5f5f5": ("white-point",)}
    soft_agreement = {f"white-point on {subdomain}": value for subdomain, value in zip(named, (0.9, 0.8), strict=True)}
    fitted = FittedEnsemble("ensemble", (), {"white-point": own}, soft_agreement=soft_agreement, subdomains=named)
    files = write_normalizers(fitted, tmp_path)
    SavedEnsemble.of(Members(()), files, {}, tmp_path, fitted).write(tmp_path)
    kept = SavedEnsemble.read(tmp_path / "ensemble.json")
    assert kept.subdomains == named
    facts = kept.in_words()
    assert facts["ensemble: subdomains of the source"] == (
        "empty field #faf082: white-point; empty field #f5f5f5: white-point"
    )
    assert facts["ensemble: soft agreement of re-stainings with shape"] == (
        "white-point on #faf082 0.900, white-point on #f5f5f5 0.800"
    )
    read = kept.ensemble(tmp_path, {}).standardizers["white-point"]
    images = np.concatenate(subdomains)
    np.testing.assert_array_equal(read.standardize(images), own.standardize(images))


def test_what_an_earlier_version_wrote_has_one_look(tmp_path: Path) -> None:
    SavedEnsemble.of(Members(()), {}, {}, tmp_path).write(tmp_path)
    written = json.loads((tmp_path / "ensemble.json").read_text(encoding="utf-8"))
    del written["subdomains"]
    (tmp_path / "ensemble.json").write_text(json.dumps(written), encoding="utf-8")
    assert SavedEnsemble.read(tmp_path / "ensemble.json").subdomains == {}
