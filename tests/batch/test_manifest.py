import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch import manifest
from batch.values import WrongUse

CAR = "https://example.com/car.jpg"


def lines(path, **settings):
    manifest.check(path, settings)
    return list(manifest.lines(path, settings))


# ruff: noqa: E501
BAD = {
    "wrong column": ("a.csv", b"id,image_url,palette_hexlist\nx,u,v\n", "line 1", "unknown column 'palette_hexlist'; did you mean 'palette_hex_list'?"),
    "no column": ("a.csv", b"id,,image_url\n", "line 1", "unknown column ''"),
    "column twice": ("a.csv", b"id,image_url,id\n", "line 1", "the column 'id' is named twice"),
    "too many cells": ("a.csv", f"id,image_url\na,{CAR}\nb,{CAR},3\n".encode(), "line 3", "has 3 cells, and the first line names 2 columns"),
    "wrong value": ("a.csv", f"id,image_url,seed\na,{CAR},one\n".encode(), "line 2", "seed: must be a whole number, not 'one'"),
    "no picture": ("a.csv", b"id,seed\na,1\n", "line 2", "Give exactly one of image_url and image_base64"),
    "open quote": ("a.csv", f'id,image_url\na,{CAR}\nb,"{CAR}\n'.encode(), "line 3", "is not CSV (unexpected end of data)"),
    "after a quoted line break": ("a.csv", f'id,image_url,prompt\na,{CAR},"x\ny"\na,{CAR},z\n'.encode(), "line 4", "the id 'a' is that of line 2 too"),
    "capitals": ("a.csv", b"ID,image_url\nx,u\n", "line 1", "unknown column 'ID'; did you mean 'id'?"),
    "ends of lines": ("a.csv", f"id,image_url\ra,{CAR}\r".encode(), "line 1", "end with a carriage return alone"),
    "long number": ("a.jsonl", b'{"seed": ' + b"9" * 5000 + b"}", "line 1", "is not JSON (a number has too many digits)"),
    "id is true": ("a.jsonl", b'{"id": true, "image_url": "https://a/b"}', "line 1", "id: must be a text"),
    "empty": ("a.csv", b"", "is empty", "its first line must name columns"),
    "header alone": ("a.csv", b"id,image_url\n", "a.csv", "names no picture"),
    "not UTF-8": ("a.csv", b"id,image_url\n\xe4,b\n", "line 2", "is not UTF-8"),
    "UTF-16": ("a.csv", "id,image_url\n".encode("utf-16"), "line 1", "the file is UTF-16; save it as UTF-8"),
    "unknown key": ("a.jsonl", b'{"image_url": "https://a/b.jpg", "sead": 1}\n', "line 1", "Unknown key 'sead'; did you mean 'seed'?"),
    "not JSON": ("a.jsonl", b'{"image_url": "https://a/b.jpg"}\n{"image_url": \n', "line 2", "is not JSON"),
    "not an object": ("a.jsonl", b"[1]\n", "line 1", "must be a JSON object"),
    "key twice": ("a.jsonl", b'{"image_url": "https://a/b", "seed": 1, "seed": 2}', "line 1", "the key 'seed' stands there twice"),
    "two ids alike": ("a.jsonl", b'{"id": 1, "image_url": "https://a/b"}\n\n{"id": "1", "image_url": "https://a/c"}', "line 3", "that of line 1 too"),
    "ids inside": ("a.jsonl", b'{"id": "a/b", "image_url": "https://a/b"}\n{"id": "a", "image_url": "https://a/c"}', "line 2", "one inside the other"),
    "unsafe id": ("a.jsonl", b'{"id": "../a", "image_url": "https://a/b"}', "line 1", "id contains a segment of dots"),
    "missing file": ("a.jsonl", b'{"image_url": "photos/none.jpg"}', "line 1", "image_url: there is no file 'photos/none.jpg'"),
    "palette's file": ("a.jsonl", b'{"image_url": "https://a/b", "palette_from_url": "c.jpg"}', "line 1", "palette_from_url: must be an http(s) or s3"),
    "other scheme": ("a.jsonl", b'{"image_url": "ftp://a/b.jpg"}', "line 1", "no http(s) or s3 address"),
    "bad palette": ("a.jsonl", b'{"image_url": "https://a/b", "palette_hex_list": ["red", "blue"]}', "line 1", "palette"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_manifest_is_one_sentence_with_its_line(name, tmp_path):
    file, content, place, sentence = BAD[name]
    path = tmp_path / file
    path.write_bytes(content)
    with pytest.raises(WrongUse) as refused:
        lines(path)
    assert place in str(refused.value) and sentence in str(refused.value)
    assert (
        str(refused.value).endswith("?" if "did you mean" in sentence else ".")
        and "?." not in str(refused.value)
        and "\n" not in str(refused.value)
    )


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_line_of_a_gigabyte_is_refused_without_being_read(kind, tmp_path):
    path = tmp_path / f"a.{kind}"
    head = b"id,image_url\n" if kind == "csv" else b""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(2**30)
    with pytest.raises(WrongUse, match=r"line [12]: is longer than 32 MiB"):
        lines(path)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(WrongUse, match="cannot be read: No such file"):
        lines(tmp_path / "a.csv")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_spreadsheets_ways_of_writing_csv_all_work(delimiter, end, mark, tmp_path):
    rows = [["id", "image_url", "palette_hex_list", "seed"], ["a", CAR, "F00,0F0", "7"], ["", CAR, "", ""]]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(rows)
    path = tmp_path / "a.csv"
    path.write_bytes((mark + text.getvalue()).encode())
    first, second = lines(path, seed=9)
    assert (first.number, first.id, first.keys) == (2, "a", {"image_url": CAR, "palette_hex_list": ["F00", "0F0"], "seed": 7})
    assert (second.number, second.id, second.keys) == (3, "000002", {"image_url": CAR, "seed": 9})


def test_blanks_around_an_id_or_an_address_are_none_of_it(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"id, image_url, prompt\n a , {CAR} , b \n")
    (line,) = lines(path)
    assert line.id == "a" and line.keys == {"image_url": CAR, "prompt": " b "}


def test_a_path_is_a_file_beside_the_manifest(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    path = tmp_path / "a.jsonl"
    path.write_text('{"image_url": "photos/a.jpg", "matte_url": "photos/a.jpg"}')
    (line,) = lines(path)
    assert set(line.files) == {"image_url", "matte_url"} and line.keys == {}
    path.write_text('{"image_url": "photos/a.jpg", "image_base64": "QQ=="}')
    with pytest.raises(WrongUse, match="line 1: Give exactly one of image_url and image_base64"):
        lines(path)


def test_settings_for_all_are_checked():
    assert manifest.settings_of(["size=2048", "remove=", 'stroke={"width": 3}']) == {"size": 2048, "remove": [], "stroke": {"width": 3}}
    for text, sentence in {"size": "key=value", "size=big": "must be a whole number", "sizes=1": "did you mean 'size'"}.items():
        with pytest.raises(WrongUse, match=sentence):
            manifest.check_settings(manifest.settings_of([text]))


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(st.lists(st.tuples(texts.filter(str.strip), st.integers(0, 2**32 - 1)), min_size=1, max_size=8))
def test_what_a_csv_writer_writes_is_read_as_it_was(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image_url", "prompt", "seed"], *([CAR, prompt, seed] for prompt, seed in rows)])
    assert [(line.keys["prompt"], line.keys["seed"]) for line in lines(path)] == rows


@given(st.lists(st.dictionaries(texts, st.none() | st.integers() | texts, max_size=4), max_size=5))
def test_any_json_lines_end_in_lines_or_a_sentence(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    try:
        found = lines(path)
    except WrongUse as refused:
        assert str(refused).endswith((".", "?"))
    else:
        assert found and all(line.keys.keys() | line.files.keys() for line in found)
