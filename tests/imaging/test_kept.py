import numpy as np

from hemabridge.imaging.kept import Kept, content_hash


def test_a_result_is_worked_out_once_and_forgotten_with_all_others_at_the_limit() -> None:
    kept, asked = Kept[str, int](2), list[str]()

    def get(key: str) -> int:
        return kept.get(key, lambda: asked.append(key) or len(asked))

    assert [get(key) for key in ("a", "a", "b", "a")] == [1, 1, 2, 1]
    assert [get(key) for key in ("c", "a", "b")] == [3, 4, 5]
    assert asked == ["a", "b", "c", "a", "b"]


def test_nothing_found_is_kept_as_well() -> None:
    kept, asked = Kept[str, None](2), list[str]()
    for _ in range(2):
        kept.get("blank", lambda: asked.append("blank"))
    assert asked == ["blank"]


def test_pictures_of_the_same_bytes_and_another_shape_differ() -> None:
    picture = np.arange(12, dtype=np.uint8)
    assert (
        content_hash(picture.reshape(3, 4))
        == content_hash(picture.reshape(3, 4).copy())
        != content_hash(picture.reshape(4, 3))
    )
