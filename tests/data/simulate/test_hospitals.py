import numpy as np
import pytest

from hemabridge.data.simulate import HOSPITALS, TARGET, Hospital, random_hospital
from hemabridge.errors import InputError


def drawn(count, strength=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return [random_hospital(rng, strength) for _ in range(count)]


def test_every_hospital_is_listed_under_its_name_and_the_target_is_the_plain_one():
    assert all(hospital.name == name for name, hospital in HOSPITALS.items())
    assert HOSPITALS[TARGET] == Hospital(name=TARGET)


def test_the_same_generator_draws_the_same_hospitals_and_never_one_twice():
    first, again = drawn(5), drawn(5)
    assert first == again
    assert drawn(1) != drawn(1, seed=1)
    assert len({hospital.name for hospital in drawn(50)}) == 50
    assert not {hospital.name for hospital in drawn(50)} & set(HOSPITALS)


def test_random_hospitals_fill_their_ranges_and_hold_every_bound():
    many = drawn(300)
    for hospital in many:
        Hospital.model_validate(hospital.model_dump())
    clear = np.array([hospital.camera.clear_field_rgb for hospital in many])
    assert 90 < clear.min() < 120
    assert 240 < clear.max() <= 255
    azure = [hospital.bath.azure_b for hospital in many]
    assert 0.45 <= min(azure) < 0.55
    assert 1.5 < max(azure) <= 1.8
    blur = [hospital.camera.blur_um for hospital in many]
    assert 0.08 <= min(blur) < 0.1
    assert 0.35 < max(blur) <= 0.38


def test_strength_is_the_distance_from_the_target():
    target = HOSPITALS[TARGET]
    weak = random_hospital(np.random.default_rng(4), 1e-6)
    np.testing.assert_allclose(weak.camera.clear_field_rgb, target.camera.clear_field_rgb, atol=1e-3)
    assert weak.bath.azure_b == pytest.approx(1.0, abs=1e-5)
    assert weak.camera.lamp_kelvin == pytest.approx(target.camera.lamp_kelvin, rel=1e-5)
    half, whole = (random_hospital(np.random.default_rng(4), strength) for strength in (0.5, 1.0))
    assert np.log(half.bath.eosin_y) == pytest.approx(0.5 * np.log(whole.bath.eosin_y))
    assert half.camera.noise - 1.5 == pytest.approx(0.5 * (whole.camera.noise - 1.5))


@pytest.mark.parametrize("strength", [0.0, 1.01, float("nan")])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(InputError, match="expected a strength above 0 and up to 1"):
        random_hospital(np.random.default_rng(0), strength)
