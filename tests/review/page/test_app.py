import json
import re
from collections import Counter
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hemabridge.review.key import KEY, read_key
from hemabridge.review.store import STORE, Store
from hemabridge.review.texts import TEXTS
from hemabridge.workflows.review.create import Created


def goes_to(response: Any) -> str:
    assert response.status_code == 303
    return str(response.headers["location"]).rpartition("/")[2]


def test_a_reader_goes_from_the_link_to_the_end_and_every_answer_is_stored(
    ana: Any, store: Store, created: Created
) -> None:
    assert "Ana Ruiz" in ana.get().text
    pages = []
    while "end" not in pages and len(pages) < 100:
        page = goes_to(ana.answer(0)) if ana.get("read").status_code == 200 else "end"
        pages.append(page)
    assert Counter(pages) == {"read": created.screens - 4, "part": 3, "done": 1, "end": 1}
    assert "14 screens" not in ana.get("done").text
    assert f"all {created.screens} screens" in ana.get("done").text
    verdicts = store.verdicts()
    assert {verdict.reader for verdict in verdicts} == {"Ana Ruiz"}
    assert {verdict.item for verdict in verdicts} == {item.item for item in read_key(created.out / KEY)}
    assert store.open_sessions() == []


def masked(html: str) -> str:
    """Return a page without what may differ: ids, and how far the reader is."""
    return re.sub(r"\d+", "0", re.sub(r"[0-9a-f]{32}|[0-9a-f]{24}", "ID", html))


def test_pages_of_one_question_differ_in_ids_and_progress_alone(ana: Any, created: Created) -> None:
    arms = {item.shown: item.arms for item in read_key(created.out / KEY) if item.question == "laboratory"}
    pages: dict[str, set[str]] = {}
    seen: set[tuple[str, ...]] = set()
    for _ in range(created.screens):
        form, html = ana.form(), ana.get("read").text
        if form["screen"] in arms and "Practice" not in html and 'data-pictures=""' not in html:
            following = html.count("p/", html.index("data-pictures"))
            pages.setdefault(f"{following}", set()).add(masked(html))
            seen.add(arms[form["screen"]])
        ana.answer(0)
    assert seen == {("original",), ("cyclegan-0010",), ("target",)}
    assert {kind: len(found) for kind, found in pages.items()} == dict.fromkeys(pages, 1)


def test_no_response_holds_an_arm_a_class_a_file_a_site_or_a_hash(ana: Any, created: Created) -> None:
    items = read_key(created.out / KEY)
    secrets = {"cyclegan", "original", "yellow-field", "clinic-like", "truth", "neutrophil", "lymphocyte"}
    secrets |= {item.cell for item in items} | {item.cell_type for item in items} | {"repeat"}
    ana.get()
    for page in ("pause", "rest", "part", "p/none.png", "nowhere"):
        ana.get(page)
    for _ in range(created.screens):
        picture = re.findall(r"p/[0-9a-f]{24}\.png", ana.get("read").text)
        for name in picture:
            ana.get(name)
        ana.answer(1, ninth="4")
    ana.get("done")
    ana.post("undo", {"screen": "0" * 24})
    assert len(ana.seen) > 60
    shown_by_name = {"original"}  # the picture beside which morphology is compared is named to the reader
    for response in ana.seen:
        if response.headers.get("content-type") == "image/png":
            text = str(response.headers)
        else:
            text = f"{response.headers} {response.text}".lower().replace("<figcaption>original", "")
        assert [word for word in secrets if word in text] == []
    assert shown_by_name < secrets


def test_the_store_knows_no_arm_either_and_the_pages_need_no_key(ana: Any, created: Created, store: Store) -> None:
    arms = {arm for item in read_key(created.out / KEY) for arm in item.arms}
    (created.out / KEY).unlink()
    assert ana.get("read").status_code == 200
    assert goes_to(ana.answer(0)) in ("read", "part")
    store.close()
    content = b"".join(path.read_bytes() for path in created.out.glob(f"{STORE}*"))
    assert [arm for arm in (*arms - {"target"}, "neutrophil", "yellow-field") if arm.encode() in content] == []
    assert b"Ana Ruiz" in content


def test_pictures_cannot_be_told_by_their_headers(ana: Any, created: Created) -> None:
    headers = set()
    for _ in range(6):
        name = re.findall(r"p/[0-9a-f]{24}\.png", ana.get("read").text)[0]
        picture = ana.get(name)
        assert picture.content.startswith(b"\x89PNG")
        headers.add(json.dumps(sorted(picture.headers.items())))
        ana.answer(0)
    assert len(headers) == 1
    assert '"etag"' not in headers.pop()


def test_a_picture_is_sent_to_its_reader_when_it_is_due(ana: Any, ben: Any, created: Created) -> None:
    due = re.findall(r"p/[0-9a-f]{24}\.png", ana.get("read").text)
    assert [ana.get(name).status_code for name in due] == [200] * len(due)
    later = [path.name for path in (created.out / "pictures").iterdir() if f"p/{path.name}" not in due]
    assert len(later) > 10
    assert {ana.get(f"p/{name}").status_code for name in later} == {404}


def test_undo_goes_back_and_shows_the_answer_that_was_given(ana: Any, store: Store) -> None:
    first = ana.form()["screen"]
    ana.answer(1)
    html = ana.get("read").text
    assert first in html[html.index('id="undo"') :]
    assert goes_to(ana.post("undo", {"screen": first})) == "read"
    html = ana.get("read").text
    assert ana.form()["screen"] == first
    assert len(re.findall(r'class="before" aria-description="your answer before"', html)) == 1
    assert store.verdicts() == []
    ana.answer(0)
    assert [verdict.answer for verdict in store.verdicts()] == ["target"]


def test_a_form_that_is_sent_twice_counts_once(ana: Any, store: Store) -> None:
    fields = {**ana.form(), **{item: values[0] for item, values in ana.items().items()}}
    once, twice = ana.post("read", fields), ana.post("read", fields)
    assert goes_to(once) == goes_to(twice)
    assert len(store.verdicts()) == 1


def test_a_form_of_another_screen_is_refused_calmly_and_leads_back(ana: Any, store: Store) -> None:
    old = {**ana.form(), **{item: values[0] for item, values in ana.items().items()}}
    ana.answer(0)
    late = ana.post("read", old | {"submission": "0" * 32})
    assert late.status_code == 409
    assert "Nothing was changed" in late.text
    assert f'href="{ana.path}read"' in late.text
    assert ana.post("undo", {"screen": ana.form()["screen"]}).status_code == 409
    assert len(store.verdicts()) == 1


def test_a_form_without_an_answer_is_shown_again_with_what_is_missing(ana: Any, store: Store) -> None:
    response = ana.post("read", ana.form())
    assert response.status_code == 422
    assert TEXTS["incomplete"]["en"] in response.text
    assert store.verdicts() == []


def test_languages_can_be_chosen_and_are_kept(ana: Any, ben: Any) -> None:
    assert 'lang="en"' in ana.get().text
    assert goes_to(ana.post("language", {"language": "es"})) == ""
    assert "Empezar" in ana.get().text
    assert "Práctica" in ana.get("read").text
    assert "Start" in ben.get().text
    assert ana.post("language", {"language": "../en"}).status_code == 400


def test_a_break_says_that_all_is_stored(ana: Any) -> None:
    ana.answer(0)
    assert "Answers stored: 1." in ana.get("pause").text
    assert TEXTS["pause_proposed"]["en"] in ana.get("rest").text
    assert TEXTS["pause_proposed"]["en"] not in ana.get("pause").text


def test_time_that_a_page_reports_is_kept(ana: Any, store: Store) -> None:
    screen = ana.form()["screen"]
    assert ana.post("left", {"screen": screen, "seconds": "0.002"}).status_code == 204
    ana.answer(0, seconds="0.003")
    assert 0.002 <= store.verdicts()[0].seconds <= 0.01


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1e308", "1e999", "x", "", "9" * 60])
def test_times_that_are_none_do_no_harm(ana: Any, store: Store, seconds: str) -> None:
    ana.answer(0, seconds=seconds)
    assert 0 < store.verdicts()[0].seconds < 60


def test_the_address_alone_and_tokens_of_nobody_show_one_and_the_same_page(client: TestClient, ana: Any) -> None:
    pages = {
        client.get(path).text for path in ("/", "/r/", "/r/x/", f"{ana.path[:-1]}A/read", "/docs", "/openapi.json")
    }
    assert len(pages) == 1
    assert "open the link that you were given" in pages.pop()


def test_a_link_without_its_last_slash_works(client: TestClient, ana: Any) -> None:
    response = client.get(ana.path.rstrip("/"))
    assert (response.status_code, response.headers["location"]) == (303, ana.path)
