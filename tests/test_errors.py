"""Text of errors: on one line, obeying nothing, shortened between words."""

from __future__ import annotations

import pytest

from edge_tta.errors import ConfigError, did_you_mean, one_line, printable, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("cam\udce9ra", "cam\\udce9ra"),
        ("a\u2028b", "a\\u2028b"),
        ("Fußgängerübergang, 人行横道, 🚸", "Fußgängerübergang, 人行横道, 🚸"),
    ],
)
def test_text_from_outside_is_shown_and_not_obeyed(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode("utf-8")


def test_errors_are_one_printable_line() -> None:
    assert one_line(ConfigError("no file a\x1b[2J\n  b")) == "no file a\\x1b[2J b"
    assert one_line(ValueError()) == "ValueError"
    assert one_line(OSError(22, "it is a pipe")) == "it is a pipe"


@pytest.mark.parametrize("limit", range(4, 60))
def test_a_message_is_cut_between_words(limit: int) -> None:
    text = "the weights file that was given does not fit the network"
    cut = shortened(text, limit)
    assert len(cut) <= limit
    assert cut == text or cut.endswith("...")
    if limit > 20:
        assert text.startswith(cut.removesuffix("...") + " ") or cut == text


def test_a_long_word_is_cut_all_the_same() -> None:
    assert shortened("/" + 300 * "a", 50) == "/" + 46 * "a" + "..."


def test_the_advice_of_an_error_of_ours_stays_whole() -> None:
    error = ConfigError(f"{'a long story ' * 30}; expected a short one; tell it again")
    cut = one_line(error, 80)
    assert cut.endswith("...; tell it again")
    assert len(cut) <= 80


def test_what_was_meant_is_found_by_likeness_and_by_part() -> None:
    names = ["fog", "snow", "jpeg_compression", "gaussian_noise"]
    assert did_you_mean("jpeg", names) == "; did you mean jpeg_compression?"
    assert did_you_mean("snwo", names) == "; did you mean snow?"
    assert did_you_mean("unlike", names) == ""
