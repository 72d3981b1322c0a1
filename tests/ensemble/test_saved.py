import json
from pathlib import Path

import numpy as np

from hemabridge.ensemble.fit import Agreement
from hemabridge.ensemble.members import Team
from hemabridge.ensemble.saved import KeptAgreement, write_normalizers
from hemabridge.normalizers.by_subdomain import ByLook
from hemabridge.normalizers.catalog import fit_normalizer


def test_the_looks_of_a_site_and_their_restainings_are_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    looks = [np.clip(rng.normal(field, 5, (4, 8, 8, 3)), 0, 255).astype(np.uint8) for field in ((250, 240, 130), 245)]
    fitted = [(images, fit_normalizer("white-point", images, images)) for images in looks]
    own = ByLook.of(fitted, looks[0])  # type: ignore[arg-type]
    named = {"#faf082": ("white-point",), "#f5f5f5": ("white-point",)}
    accord = {f"white-point on {look}": value for look, value in zip(named, (0.9, 0.8), strict=True)}
    agreed = Agreement("agreement", (), {"white-point": own}, accord=accord, looks=named)
    files = write_normalizers(agreed, tmp_path)
    KeptAgreement.of(Team(()), files, {}, tmp_path, agreed).write(tmp_path)
    kept = KeptAgreement.read(tmp_path / "agreement.json")
    assert kept.looks == named
    facts = kept.in_words()
    assert facts["agreement: looks of the source"] == (
        "empty field #faf082: white-point; empty field #f5f5f5: white-point"
    )
    assert facts["agreement: accord of re-stainings with shape"] == (
        "white-point on #faf082 0.900, white-point on #f5f5f5 0.800"
    )
    read = kept.agreement(tmp_path, {}).standardizers["white-point"]
    images = np.concatenate(looks)
    np.testing.assert_array_equal(read.standardize(images), own.standardize(images))


def test_what_an_earlier_version_wrote_has_one_look(tmp_path: Path) -> None:
    KeptAgreement.of(Team(()), {}, {}, tmp_path).write(tmp_path)
    written = json.loads((tmp_path / "agreement.json").read_text(encoding="utf-8"))
    del written["looks"]
    (tmp_path / "agreement.json").write_text(json.dumps(written), encoding="utf-8")
    assert KeptAgreement.read(tmp_path / "agreement.json").looks == {}
