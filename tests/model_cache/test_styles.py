"""The trigger of a style in front of a prompt: once, as words of its own."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_cache.errors import BrokenModel
from model_cache.styles import Beside, beside, clean, in_force, prompted


@pytest.mark.parametrize(
    ("trigger", "prompt", "said"),
    [
        ("<flt_vctr_style>", "a red car", "<flt_vctr_style>, a red car"),
        ("<flt_vctr_style>", "<flt_vctr_style>, a red car", "<flt_vctr_style>, a red car"),
        ("<flt_vctr_style>", "a red car in <FLT_vctr_style>", "a red car in <FLT_vctr_style>"),
        ("car", "a scarlet lorry", "car, a scarlet lorry"),
        ("car", "a red Car.", "a red Car."),
        ("flat car", "", "flat car"),
        ("flat car", "  ", "flat car"),
        ("", "a car", "a car"),
        (None, "a car", "a car"),
    ],
)
def test_the_trigger_is_in_front_once(trigger: str | None, prompt: str, said: str) -> None:
    assert prompted(trigger, prompt) == said


@given(st.text(max_size=40).map(lambda text: " ".join(text.split()).strip(" ,")).filter(str.isprintable), st.text(max_size=60))
def test_saying_it_twice_changes_nothing(trigger: str, prompt: str) -> None:
    once = prompted(trigger, prompt)
    assert prompted(trigger, once) == once
    assert once.endswith(prompt) or not prompt.strip()
    assert clean(trigger) == trigger


def test_what_lies_beside_a_style(tmp_path: Path) -> None:
    style = tmp_path / "flat.safetensors"
    style.write_bytes(b"no header")
    assert beside(style) == Beside(None, None)
    (tmp_path / "flat.style.json").write_text('{"trigger": "<x>", "adapter": {"lora_alpha": 16}}')
    assert beside(style) == Beside("<x>", {"lora_alpha": 16})
    assert (in_force(style, "a car"), in_force(None, "a car")) == ("<x>, a car", "a car")
    for text in ("{", "[]", "{}", '{"trigger": 3}', '{"trigger": "a", "adapter": 3}', '{"trigger": "' + "x" * 300 + '"}'):
        (tmp_path / "flat.style.json").write_text(text)
        with pytest.raises(BrokenModel, match=r"styles/flat\.style\.json cannot be used"):
            beside(style)
