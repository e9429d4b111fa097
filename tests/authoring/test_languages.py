"""One source, two languages: text cells with twins, and messages with translations."""

import json
from pathlib import Path

import pytest

from autograder import settings
from autograder.authoring import messages as spoken
from autograder.authoring.build import build_topic, complete_notebook, student_notebook
from autograder.authoring.messages import Message, load_messages, needed_messages, update_messages
from autograder.authoring.source import WRITTEN_STUB, SourceError, parse_source
from autograder.judge.submission import read_submission

TINY = "tiny_topic"
CHINESE = "zh-TW"
TEXT = (Path(__file__).parent / TINY / "notebook.py").read_text()
TITLE_TWIN = '# %% [markdown] lang="zh-TW"\n# # 小主題\n\n# %% define\n'
QUESTION_TWIN = (
    '# %% [markdown] lang="zh-TW"\n# 為什麼有根號？\n#\n# ### BEGIN SOLUTION\n'
    "# 因為前面把平方加起來了。\n# ### END SOLUTION\n\n# %% [markdown]\n# The end.\n\n"
    '# %% [markdown] lang="zh-TW"\n# 結束。'
)
BILINGUAL = TEXT.replace("# %% define\n", TITLE_TWIN).replace(
    "# %% [markdown]\n# The end.", QUESTION_TWIN
)


@pytest.fixture
def bilingual(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Put a bilingual topic of the same name in the tiny one's place."""
    folder = tmp_path / "topics" / TINY
    folder.mkdir(parents=True)
    (folder / "notebook.py").write_text(BILINGUAL)
    monkeypatch.setattr(settings, "TOPICS", folder.parent)
    monkeypatch.setattr(settings, "MESSAGES", tmp_path / "messages")
    return folder


def test_twins_change_the_text_and_nothing_else() -> None:
    source = parse_source(BILINGUAL, TINY)
    chinese = source.in_language(CHINESE)
    assert source.languages == ("en", CHINESE)
    assert parse_source(TEXT, TINY).languages == ("en",)
    assert [cell.source for cell in source.cells] == [
        cell.source for cell in parse_source(TEXT, TINY).cells
    ]
    assert [cell.name for cell in chinese.cells] == [cell.name for cell in source.cells]
    code = [cell.source for cell in source.cells if cell.is_code]
    assert [cell.source for cell in chinese.cells if cell.is_code] == code
    assert chinese.cell("prose-1").source == "# 小主題"
    assert chinese.cell("why_root").stub == "為什麼有根號？\n\n" + WRITTEN_STUB
    assert chinese.in_language(CHINESE) is chinese


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('lang="zh-TW"', 'lang="fr"', "must be one of 'zh-TW'"),
        ('lang="zh-TW"', 'lang="zh-TW" points=2', "no other tags"),
        ('[markdown] lang="zh-TW"', 'lang="zh-TW"', r"is \[markdown\]"),
        ("# # 小主題", '# # 小主題\n\n# %% [markdown] lang="zh-TW"\n# 又', "two cells"),
        ("# ### BEGIN SOLUTION\n# 因為", "# 因為", "solution region"),
    ],
)
def test_bad_twins_are_named(old: str, new: str, complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint):
        parse_source(BILINGUAL.replace(old, new, 1), TINY)


def test_a_twin_of_code_is_refused() -> None:
    text = TEXT.replace(
        "# %%\nprint", '# %% [markdown] lang="zh-TW"\n# 字\n\n# %%\nprint'
    )  # below a check
    with pytest.raises(SourceError, match="stands below a"):
        parse_source(text, TINY)


def test_the_notebook_in_chinese(bilingual: Path, tiny_course: Path) -> None:
    names = [path.relative_to(tiny_course).as_posix() for path in build_topic(TINY)]
    assert names == [
        "notebooks/9_tiny_topic.ipynb",
        "notebooks/zh-TW/9_tiny_topic.ipynb",
        "course/source/tiny_topic/9_tiny_topic.ipynb",
        "messages/tiny_topic.json",
    ]
    english, chinese = (json.loads((tiny_course / name).read_text()) for name in names[:2])
    assert "language" not in [cell["id"] for cell in english["cells"]]
    assert [cell["id"] for cell in chinese["cells"]][:3] == ["prose-1", "setup", "language"]
    assert "use_language" in "".join(chinese["cells"][2]["source"])
    assert "平方加" not in json.dumps(chinese, ensure_ascii=False)
    del chinese["cells"][2]
    assert [cell["id"] for cell in chinese["cells"]] == [cell["id"] for cell in english["cells"]]
    said = json.loads((tiny_course / "messages/tiny_topic.json").read_text())
    assert [entry["en"] for entry in said][-1] == "step counts from 1"


def test_a_submission_is_the_same_in_both_languages(bilingual: Path, tmp_path: Path) -> None:
    import nbformat

    read = {}
    for language in ("en", CHINESE):
        path = tmp_path / f"{language}.ipynb"
        untouched = dict.fromkeys(("norm", "why_root"))
        nbformat.write(complete_notebook(TINY, untouched, language), path)
        read[language] = read_submission(path, TINY)
        assert read[language].language == language
        assert read[language].problems == []
        assert read[language].added == []
    assert read["en"].content_hash == read[CHINESE].content_hash
    assert read[CHINESE].written["why_root"].startswith("為什麼")


def test_messages_come_from_the_code() -> None:
    needed = needed_messages(TINY)
    assert [m.english for m in needed if m.kind == "visible"] == [
        "norm([3, 4]) should be 5",
        "step counts from 1",
    ]
    assert {m.kind for m in needed} == {"visible", "hints"}


def test_places_of_messages() -> None:
    text = (
        "assert x, f'got {x:.2f} of {len(y)}' + (' a' if x else ' b')\n"
        "what = f'{a}, b'\n"
        "fail('no', mistake='m')\n"
        "expect.close(1, 2, f'the {thing}', atol=3)\n"
        "print('not this')\n"
    )
    assert [(m.english, m.places) for m in spoken._messages("hidden", [text])] == [
        ("got {x} of {len(y)} a", ("{x}", "{len(y)}")),
        ("got {x} of {len(y)} b", ("{x}", "{len(y)}")),
        ("{a}, b", ("{a}",)),
        ("no", ()),
        ("the {thing}", ("{thing}",)),
    ]


def test_messages_that_a_loop_says() -> None:
    text = """
for what, x in (("negative inputs", -1), ("large inputs", 9)):
    expect.close(f(x), x, f"{what}: the output")
for place, what in enumerate(["the first layer", "the last layer"]):
    expect.close(f(place), 0, what)
for name in ("value_bytes", "index_bytes"):
    expect.raises(f, **{name: 0})
"""
    said = {message.english for message in spoken._messages("hidden", [text])}
    assert said == {
        "negative inputs",
        "large inputs",
        "{what}: the output",
        "the first layer",
        "the last layer",
    }


def test_updating_keeps_translations_and_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "messages.toml"
    old = [Message("hidden", "gone"), Message("hidden", 'got "{x}"', ("{x}",))]
    assert len(update_messages(path, old)) == 2
    path.write_text(path.read_text().replace('zh-TW = ""', 'zh-TW = "得到 {x}"'))
    new = [old[1], Message("hints", "new")]
    assert update_messages(path, new) == ["hints: no zh-TW for 'new'"]
    first, second = load_messages(path, new)
    assert first.translations == (("zh-TW", "得到 {x}"),)
    assert second.translations == (("zh-TW", ""),)
    assert "gone" not in path.read_text()
    path.write_text(path.read_text().replace("得到 {x}", "得到"))
    assert spoken.problems(load_messages(path, new))[0].endswith("lacks {x}: '得到'")
    path.write_text("[[hidden]]\nzh-TW = 'x'\n")
    with pytest.raises(ValueError, match=r"messages\.toml"):
        load_messages(path, new)


def test_the_english_student_notebook_has_no_twin(bilingual: Path) -> None:
    text = json.dumps(student_notebook(parse_source(BILINGUAL, TINY)), ensure_ascii=False)
    assert "小主題" not in text
