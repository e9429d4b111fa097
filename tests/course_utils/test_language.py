import json
import time

import pytest
from IPython.testing.globalipapp import start_ipython

from course_utils import language
from course_utils.language import Catalogue, Template, use_language

PAIRS = Catalogue(
    [
        Template("got {x}, expected {y}", ("{x}", "{y}"), "應為 {y}，得到 {x}"),
        Template("{what}: got {x}", ("{what}", "{x}"), "{what}：得到 {x}"),
        Template("four clear groups", (), "四個分明的群"),
        Template("not translated", (), ""),
    ]
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("got 1, expected 2", "應為 2，得到 1"),
        ("four clear groups: got 3", "四個分明的群：得到 3"),
        ("got 1, expected a, expected b", "應為 a, expected b，得到 1"),
        ("a: got 1\nfour clear groups", "a：得到 1\n四個分明的群"),
        ("not translated", "not translated"),
        ("quite another thing", "quite another thing"),
        ("", ""),
    ],
)
def test_translate(message: str, expected: str) -> None:
    assert PAIRS.translate(message) == expected


def test_repeated_places_and_values_with_braces() -> None:
    pairs = Catalogue([Template("{x} and {x}", ("{x}", "{x}"), "{x} 與 {x}")])
    assert pairs.translate("{x} and 2") == "{x} 與 {x}"


def test_a_hostile_message_costs_no_time() -> None:
    places = tuple(f"{{p{i}}}" for i in range(8))
    pairs = Catalogue([Template(" a ".join(places) + " end", places, "".join(places))])
    start = time.process_time()
    pairs.translate(" a " * 50_000)
    assert time.process_time() - start < 1


def test_unknown_topic_is_named() -> None:
    with pytest.raises(ValueError, match="no_such_topic"):
        use_language("zh-TW", "no_such_topic")


def test_failed_checks_of_a_notebook_speak_it(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "messages"
    folder.mkdir()
    entry = {"en": "got {x}", "places": ["{x}"], "zh-TW": "得到 {x}"}
    (folder / "toy.json").write_text(json.dumps([entry]), encoding="utf-8")
    monkeypatch.setattr(language, "files", lambda _package: tmp_path)
    monkeypatch.setattr(language, "_spoken", ["en"])
    shell = start_ipython() or __import__("IPython").get_ipython()
    use_language("zh-TW", "toy")
    try:
        result = shell.run_cell("x = 3\nassert x == 4, f'got {x}'")
        assert "得到 3" in capsys.readouterr().out
        assert isinstance(result.error_in_exec, AssertionError)
    finally:
        shell.set_custom_exc((), None)
