import csv
import os
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemabridge.data.columns import SCHEMA
from hemabridge.data.manifest import Manifest, make_manifest, read_manifest, with_hashes, write_manifest
from hemabridge.errors import ManifestError
from hemabridge.storage.files import sha256_of

HEADER = "path,site,class\n"
ROWS = "a/1.png,clinic,neutrophil\nb/2.png,clinic,\n"


def written(site_dir: Path, text: str | bytes) -> Path:
    path = site_dir / "manifest.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_reads_the_required_columns_and_leaves_the_others_unknown(site_dir: Path) -> None:
    manifest = read_manifest(written(site_dir, HEADER + ROWS))
    assert manifest.table.schema == SCHEMA
    assert manifest.column("class") == ["neutrophil", ""]
    assert manifest.column("patient") == ["", ""]
    assert manifest.column("crop_px") == [None, None]
    assert manifest.paths() == [site_dir / "a/1.png", site_dir / "b/2.png"]


@pytest.mark.parametrize(
    "text",
    [
        (HEADER + ROWS).encode("utf-8-sig"),
        (HEADER + ROWS).replace("\n", "\r\n").encode(),
        (HEADER + ROWS).replace("\n", "\n\n").encode(),
        b'"path","site","class"\n"a/1.png","clinic","neutrophil"\n"./b//2.png","clinic",""\n',
        (HEADER + ROWS).replace(",", ";").encode(),
        (HEADER + ROWS).replace(",", ";").replace("\n", "\r\n").encode("utf-8-sig"),
        b'"path";"site";"class"\n"a/1.png";"clinic";"neutrophil"\n"b/2.png";"clinic";""\n',
        (HEADER + ROWS).replace(",", "\t").encode(),
    ],
    ids=[
        "byte order mark",
        "CRLF",
        "blank lines",
        "quotes and a path that is not normal",
        "semicolons",
        "semicolons, CRLF and byte order mark",
        "semicolons and quotes",
        "tabs",
    ],
)
def test_reads_what_spreadsheets_write(site_dir: Path, text: bytes) -> None:
    assert read_manifest(written(site_dir, text)).table.equals(read_manifest(written(site_dir, HEADER + ROWS)).table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        (HEADER, "at least one image"),
        ("path,site,path\n", "each column once"),
        ("path,site,clas\na/1.png,x,y\n", "did you mean 'class'"),
        ("Path,site\na/1.png,x\n", "did you mean 'path'"),
        ("path,hospital\na/1.png,x\n", "did you mean 'site'"),
        ("path,site,zzzzzz\na/1.png,x,y\n", "remove it"),
        ("path;site;class\na/1.png,x,y\n", "3 cells in row 1 .* separated by ';', as its header is, got 1"),
        ("path\na/1.png\n", "no site"),
        ("path,site\na/1.png\n", "2 cells in row 1 .* got 1"),
        ("path,site\na/1.png,x,y\n", "2 cells in row 1 .* got 3"),
        ("path,site\na/1.png,\n", "name of a site"),
        ("path,site\n,x\n", "path of an image"),
        ("path,site\na/1.png,x\n./a/1.png,x\n", "each image once"),
        ("path,site\na/9.png,x\nb/8.png,x\n", "2 missing: 'a/9.png|2 missing: '.*a/9.png"),
        ("path,site\na,x\n", "1 missing"),
        ("path,site,crop_px\na/1.png,x,-3\n", "positive whole number"),
        ("path,site,crop_px\na/1.png,x,1e3\n", "positive whole number"),
        ("path,site,width\na/1.png,x,99999999999999999999\n", "positive whole number"),
        ("path,site,sha256\na/1.png,x,abc\n", "64 hexadecimal"),
        ('path,site\n"a/1.png,x\n', "separated by ',', as .*unexpected end of data"),
        ('path;site\n"a/1.png;x\n', "separated by ';', as .*unexpected end of data"),
    ],
)
def test_refuses_a_wrong_manifest_and_says_why(site_dir: Path, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(written(site_dir, text))


@pytest.mark.parametrize(
    "path", ["../x.png", "a/../../x.png", "..", "/etc/passwd", "C:/x.png", "a\\1.png", "a/1.png\0"]
)
def test_refuses_paths_that_leave_the_folder(site_dir: Path, path: str) -> None:
    with pytest.raises(ManifestError, match="column path"):
        read_manifest(written(site_dir, f"path,site\n{path},x\n"))


def test_refuses_links_that_leave_the_folder_and_takes_root_to_allow_them(site_dir: Path) -> None:
    outside = site_dir.parent / "outside.png"
    outside.write_bytes((site_dir / "a/1.png").read_bytes())
    os.symlink(outside, site_dir / "link.png")
    os.symlink(site_dir / "a/1.png", site_dir / "inner.png")
    assert len(read_manifest(written(site_dir, "path,site\ninner.png,x\n"))) == 1
    path = written(site_dir, "path,site\nlink.png,x\n")
    with pytest.raises(ManifestError, match="root"):
        read_manifest(path)
    path.write_text("path,site\nsite/link.png,x\n")
    assert len(read_manifest(path, root=site_dir.parent)) == 1


def test_a_sibling_folder_with_the_same_beginning_is_outside(site_dir: Path) -> None:
    twin = site_dir.with_name("site-2")
    twin.mkdir()
    (twin / "x.png").write_bytes(b"")
    os.symlink(twin / "x.png", site_dir / "x.png")
    with pytest.raises(ManifestError, match="lead"):
        read_manifest(written(site_dir, "path,site\nx.png,x\n"))


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@SUM(A1)", " x", "x ", "x\ty", "x\0"])
@pytest.mark.parametrize("column", ["site", "class", "patient", "slide", "split"])
def test_refuses_names_that_a_spreadsheet_or_a_reader_takes_for_something_else(column: str, name: str) -> None:
    columns = {"path": ["a.png"], "site": ["x"], column: [name]}
    with pytest.raises(ManifestError, match=f"column {column}"):
        make_manifest(columns, Path())


def test_refuses_a_huge_cell_a_huge_file_and_other_bytes(site_dir: Path) -> None:
    with pytest.raises(ManifestError, match="field larger"):
        read_manifest(written(site_dir, f"path,site\n{'a' * 1_000_000},x\n"))
    with pytest.raises(ManifestError, match="shorter text"):
        read_manifest(written(site_dir, f"path,site\n{'a' * 5_000},x\n"))
    with pytest.raises(ManifestError, match="UTF-8"):
        read_manifest(written(site_dir, b"path,site\na/1.png,M\xfcnchen\n"))
    huge = written(site_dir, HEADER + ROWS)
    os.truncate(huge, 200_000_001)  # a hole, which takes no room on the disk
    with pytest.raises(ManifestError, match="more than 200,000,000 bytes"):
        read_manifest(huge)


def test_the_header_says_what_separates_the_cells_and_other_marks_belong_to_them(site_dir: Path) -> None:
    text = "path;site;class\na/1.png;Berne, Switzerland;1,5\n"
    manifest = read_manifest(written(site_dir, text))
    assert (manifest.column("site"), manifest.column("class")) == (["Berne, Switzerland"], ["1,5"])
    commas = read_manifest(written(site_dir, "path,site\na/1.png,ward 3;4\n"))
    assert commas.column("site") == ["ward 3;4"]


def test_says_where_nothing_is(tmp_path: Path) -> None:
    for path in (tmp_path / "no.csv", tmp_path):
        with pytest.raises(ManifestError, match="hemabridge index"):
            read_manifest(path)


def test_writes_what_it_reads_also_elsewhere(site_dir: Path, tmp_path: Path) -> None:
    columns = {"path": ["a/1.png", "b/2.png"], "site": ["x", "x"], "class": ["a, b", 'say "c"'], "crop_px": [90, None]}
    manifest = make_manifest(columns, site_dir)
    write_manifest(manifest, site_dir / "manifest.csv")
    assert read_manifest(site_dir / "manifest.csv").table.equals(manifest.table)
    write_manifest(manifest, tmp_path / "new" / "m.csv")
    assert read_manifest(tmp_path / "new" / "m.csv", root=site_dir).table.equals(manifest.table)
    with pytest.raises(ManifestError, match="--root"):
        read_manifest(tmp_path / "new" / "m.csv")


def test_no_written_cell_begins_like_a_formula(site_dir: Path) -> None:
    names = ["=cmd.png", "-1.png", "+2.png", "@3.png"]
    for name in names:
        (site_dir / name).write_bytes(b"")
    write_manifest(make_manifest({"path": names, "site": ["x"] * 4}, site_dir), site_dir / "manifest.csv")
    with (site_dir / "manifest.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert [cell for cell in cells if cell.startswith(tuple("=+-@"))] == []
    assert read_manifest(site_dir / "manifest.csv").column("path") == names


def test_write_refuses_a_table_that_was_changed_to_something_wrong(site_dir: Path) -> None:
    manifest = make_manifest({"path": ["a/1.png"], "site": ["x"]}, site_dir)
    changed = Manifest(manifest.table.with_columns(pl.lit("=1").alias("class")), site_dir)
    with pytest.raises(ManifestError, match="column class"):
        write_manifest(changed, site_dir / "manifest.csv")
    assert not (site_dir / "manifest.csv").exists()


def test_paths_guards_a_table_that_was_made_by_hand(site_dir: Path) -> None:
    manifest = make_manifest({"path": ["a/1.png"], "site": ["x"]}, site_dir)
    changed = Manifest(manifest.table.with_columns(pl.lit("../site-2/x.png").alias("path")), site_dir)
    with pytest.raises(ManifestError, match="lead"):
        changed.paths()


def test_a_table_of_other_columns_is_refused(site_dir: Path) -> None:
    with pytest.raises(ManifestError, match="expected a table"):
        Manifest(pl.DataFrame({"path": ["a/1.png"]}), site_dir)


def test_select_takes_masks_and_expressions(site_dir: Path) -> None:
    manifest = read_manifest(written(site_dir, HEADER + ROWS))
    for rows in ([False, True], pl.col("class") == "", pl.Series([False, True])):
        assert manifest.select(rows).column("path") == ["b/2.png"]


def test_with_hashes_fills_only_what_is_unknown(site_dir: Path) -> None:
    known = "AB" * 32
    columns = {"path": ["a/1.png", "b/2.png"], "site": ["x", "x"], "sha256": [known, ""]}
    seen: list[tuple[int, int]] = []
    hashed = with_hashes(make_manifest(columns, site_dir), lambda done, total: seen.append((done, total)))
    assert hashed.column("sha256") == [known.lower(), sha256_of(site_dir / "b/2.png")]
    assert seen == [(1, 2), (2, 2)]


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused_with_a_message(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"path,site\n" + content)
    with pytest.raises(ManifestError, match="expected"):
        read_manifest(path)


def test_a_name_that_no_file_can_have_is_a_missing_image(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"path,site\n{'a' * 300}.png,x\n")
    with pytest.raises(ManifestError, match="got 1 missing"):
        read_manifest(tmp_path / "m.csv")


def test_a_folder_is_no_manifest_and_the_way_to_one_is_told(site_dir: Path) -> None:
    with pytest.raises(ManifestError, match=r"got the folder .*; run `hemabridge index .*` first, which writes one"):
        read_manifest(site_dir)
    path = written(site_dir, HEADER + ROWS)
    with pytest.raises(ManifestError, match=f"got the folder .*; give {path}"):
        read_manifest(site_dir)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("sep=;\r\npath;site;width\r\na.png;s;120\r\n", "utf-8"),
        ("path\tsite\twidth\r\na.png\ts\t120\r\n", "utf-16"),
        ("path\tsite\twidth\r\na.png\ts\t120\r\n", "utf-16-le"),
        ("path,site,width\na.png,s,120\n", "utf-16-be"),
        ("path,site,width\r\n,,\r\na.png,s,120.0\r\n,,\r\n", "utf-8-sig"),
        ("path,,site,width,,\r\na.png,,s,120,,\r\n", "utf-8"),
        ("path;site;width\r\na.png;s;120,0;;\r\n", "utf-8"),
    ],
)
def test_what_spreadsheets_save_is_read(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "m.csv").write_bytes(text.encode(encoding))
    assert read_manifest(tmp_path / "m.csv").table.select("path", "site", "width").rows() == [("a.png", "s", 120)]


def test_a_header_of_very_many_columns_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(",".join(f"c{number}" for number in range(50_000)) + "\nx\n")
    started = time.perf_counter()
    with pytest.raises(ManifestError):
        read_manifest(tmp_path / "m.csv")
    (tmp_path / "m.csv").write_text(",".join(f"c{number}" for number in range(50_000)) + "\n")
    with pytest.raises(ManifestError, match="expected the columns"):
        read_manifest(tmp_path / "m.csv")
    assert time.perf_counter() - started < 5
