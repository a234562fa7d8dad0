import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code, JobError
from pipeline.palette import DEFAULT, normalize_hex, parse

HEX = st.integers(0, 0xFFFFFF).map(lambda v: f"{v:06X}")


def test_the_default_has_fifteen_colours():
    assert parse(None).colors == DEFAULT
    assert len(set(DEFAULT)) == 15


@given(HEX, st.sampled_from(["{}", "#{}", " {} "]), st.booleans())
def test_hex_in_any_spelling(digits, form, lower):
    assert normalize_hex(form.format(digits.lower() if lower else digits)) == f"#{digits}"


@given(st.text(alphabet="0123456789abcdef", min_size=3, max_size=3))
def test_three_digits(digits):
    assert normalize_hex(digits) == "#" + "".join(d * 2 for d in digits.upper())


@given(st.lists(HEX, min_size=2, max_size=64, unique=True))
def test_order_is_kept_and_text_equals_list(colors):
    assert parse(colors).colors == tuple(f"#{c}" for c in colors)
    assert parse(",".join(colors)) == parse(colors)  # a palette without # is the caller's, not the default one


@pytest.mark.parametrize(
    "wrong", [[], "", "FF0000", ["FF0000"], ["f00", "FF0000"], ["FF0000", "nope"], ["FF0000", None], ["FF0000", ""], "FF0000,,00FF00"]
)
def test_wrong_palettes(wrong):
    with pytest.raises(JobError) as error:
        parse(wrong)
    assert error.value.code is Code.INVALID_PALETTE


def test_sixty_five_colours_are_too_many():
    with pytest.raises(JobError, match="2 to 64"):
        parse([f"{v:06X}" for v in range(65)])


def test_a_repeated_colour_counts_once():
    palette = parse(["f00", "00FF00", "#FF0000"])
    assert palette.colors == ("#FF0000", "#00FF00")
    assert palette.repeated == ("#FF0000",)
