"""What a caller says of the outline: which alpha channels are cut-outs, shadows that hang on them, mattes that are odd."""

import cv2
import numpy as np
import pytest

from pipeline.intake.photo import GivenMatte, turned_upright
from pipeline.phase0_vehicle.known import is_cut_out, known, without_canvas
from pipeline.values import Photo

H, W = 300, 480


def ellipse(width=150, height=80, x=W // 2, y=H // 2, angle=0):
    out = np.zeros((H, W), np.uint8)
    cv2.ellipse(out, (x, y), (width, height), angle, 0, 360, 255, -1)
    return out


def rectangle(x0, y0, x1, y1):
    out = np.zeros((H, W), np.uint8)
    out[y0:y1, x0:x1] = 255
    return out


def turned_rectangle(angle):
    out = np.zeros((H, W), np.uint8)
    corners = cv2.boxPoints(((W / 2, H / 2), (300, 160), angle))
    cv2.fillPoly(out, [corners.astype(np.int32)], 255)
    return out


def one_pixel():
    out = np.full((H, W), 255, np.uint8)
    out[17, 33] = 0
    return out


def rounded(radius):
    big = np.zeros((H, W), np.uint8)
    cv2.rectangle(big, (radius, 0), (W - 1 - radius, H - 1), 255, -1)
    cv2.rectangle(big, (0, radius), (W - 1, H - 1 - radius), 255, -1)
    for x in (radius, W - 1 - radius):
        for y in (radius, H - 1 - radius):
            cv2.circle(big, (x, y), radius, 255, -1)
    return big


def torn_corner():
    out = np.full((H, W), 255, np.uint8)
    cv2.fillPoly(out, [np.array([[W, 0], [W, 120], [W - 200, 0]], np.int32)], 0)
    return out


FRAMES = {
    "one pixel": one_pixel(),
    "rounded corners": rounded(24),
    "canvas above and below": rectangle(0, 60, W, 240),
    "canvas all round": rectangle(60, 40, 400, 260),
    "turned photo": turned_rectangle(12),
    "far turned photo": turned_rectangle(41),
    "torn corner": torn_corner(),
    "soft frame": cv2.GaussianBlur(rectangle(10, 10, W - 10, H - 10), (0, 0), 3),
}
CUT_OUTS = {
    "in the middle": ellipse(),
    "touching two borders": ellipse(240, 150, 0, H),
    "filling the width": ellipse(238, 90),
    "far": ellipse(20, 10),
    "two parts": np.maximum(ellipse(80, 60, 120), ellipse(80, 60, 340)),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_the_shape_of_a_picture_is_no_outline(kind):
    assert not is_cut_out(FRAMES[kind])
    photo = Photo(np.full((H, W, 3), 90, np.uint8), FRAMES[kind], "")
    answer = known(photo, None, None)
    assert answer.outline is None
    assert [warning.partition(":")[0] for warning in answer.warnings] == ["ALPHA_IGNORED"]


@pytest.mark.parametrize("kind", CUT_OUTS)
def test_a_cut_out_is_the_outline(kind):
    assert is_cut_out(CUT_OUTS[kind])
    answer = known(Photo(np.full((H, W, 3), 90, np.uint8), CUT_OUTS[kind], ""), None, None)
    assert answer.cut_out
    np.testing.assert_array_equal(answer.outline.alpha, CUT_OUTS[kind])
    assert answer.outline.confidence is None
    assert answer.warnings == ()


def test_an_empty_alpha_is_no_cut_out():
    assert not is_cut_out(np.zeros((H, W), np.uint8))


def test_no_alpha_and_no_matte_is_nothing_known():
    answer = known(Photo(np.zeros((H, W, 3), np.uint8), None, ""), None, None)
    assert (answer.outline, answer.cut_out, answer.warnings) == (None, False, ())


def test_what_lies_under_an_ignored_canvas_is_filled_from_the_photo():
    rgb = np.full((H, W, 3), 255, np.uint8)
    rgb[40:260, 60:400] = np.random.default_rng(0).integers(40, 90, (220, 340, 3))
    filled = without_canvas(Photo(rgb, rectangle(60, 40, 400, 260), ""))
    assert filled.max() < 90
    np.testing.assert_array_equal(filled[40:260, 60:400], rgb[40:260, 60:400])


# --- shadows ---

CAR = ellipse(150, 70, y=130)


def with_shadow(alpha, tone=10, y=205):
    """A dark shadow of `alpha` on the ground under the car, beside its opaque pixels."""
    shadow = ellipse(170, 22, x=W // 2 + 20, y=y) > 0
    both = CAR.copy()
    both[shadow & (CAR == 0)] = alpha
    rgb = np.full((H, W, 3), 255, np.uint8)
    rgb[shadow] = tone
    rgb[CAR > 0] = (200, 40, 40)
    return Photo(rgb, both, "")


@pytest.mark.parametrize("alpha", [40, 128, 160, 230])
@pytest.mark.parametrize("look", [None, "sees the car"])
def test_a_soft_shadow_on_a_cut_out_is_left_out(alpha, look):
    def sees_the_car(rgb):
        return cv2.resize(CAR, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32) / 255

    answer = known(with_shadow(alpha), None, sees_the_car if look else None)
    inside = answer.outline.alpha > 127
    assert (inside & (CAR > 0)).sum() / (inside | (CAR > 0)).sum() > 0.98
    assert [warning.partition(":")[0] for warning in answer.warnings] == ["SHADOW_LEFT_OUT"]


def test_an_opaque_shadow_is_left_out_where_a_network_sees_that_it_is_none_of_the_car():
    def sees_the_car(rgb):
        return cv2.resize(CAR, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32) / 255

    inside = known(with_shadow(255), None, sees_the_car).outline.alpha > 127
    assert (inside & (CAR > 0)).sum() / (inside | (CAR > 0)).sum() > 0.97
    assert (known(with_shadow(255), None, None).outline.alpha == with_shadow(255).alpha).all()


def test_a_pale_part_that_a_network_does_not_see_stays():
    """The caller's word counts: only what is dark and colourless can be a shadow."""
    photo = with_shadow(255, tone=220)
    answer = known(photo, None, lambda rgb: cv2.resize(CAR, (256, 256)).astype(np.float32) / 255)
    np.testing.assert_array_equal(answer.outline.alpha, photo.alpha)
    assert answer.warnings == ()


def test_soft_glass_inside_the_car_and_soft_rims_are_no_shadow():
    alpha = CAR.copy()
    alpha[100:130, 200:280] = 120
    alpha = np.where(cv2.erode(CAR, np.ones((3, 3))) > 0, alpha, CAR // 2).astype(np.uint8)
    photo = Photo(np.full((H, W, 3), 20, np.uint8), alpha, "")
    answer = known(photo, None, None)
    np.testing.assert_array_equal(answer.outline.alpha, alpha)
    assert answer.warnings == ()


# --- mattes ---


def meant(matte, photo=None, look=None):
    return known(photo or Photo(np.zeros((H, W, 3), np.uint8), None, ""), GivenMatte(matte), look)


def test_a_matte_is_the_outline_and_wins_over_alpha():
    answer = meant(CAR, Photo(np.zeros((H, W, 3), np.uint8), ellipse(60, 60), ""))
    np.testing.assert_array_equal(answer.outline.alpha, CAR)
    assert not answer.cut_out
    assert answer.warnings == ()


def codes(answer):
    return [warning.partition(":")[0] for warning in answer.warnings]


def test_an_inverted_matte_is_told():
    answer = meant(255 - CAR)
    assert codes(answer) == ["MATTE_ODD"]
    assert "inverted" in answer.warnings[0]
    np.testing.assert_array_equal(answer.outline.alpha, 255 - CAR)


def looks_like(mask):
    return lambda rgb: cv2.resize(mask, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def test_an_inverted_matte_is_inverted_where_a_look_says_so():
    answer = meant(255 - CAR, look=looks_like(CAR))
    assert codes(answer) == ["MATTE_ODD"]
    np.testing.assert_array_equal(answer.outline.alpha, CAR)


def test_a_close_up_whose_matte_covers_three_borders_is_not_inverted():
    matte = np.full((H, W), 255, np.uint8)
    matte[:90, 100:380] = 0
    answer = meant(matte, look=looks_like(matte))
    np.testing.assert_array_equal(answer.outline.alpha, matte)


@pytest.mark.parametrize("share", [0.985, 0.001])
def test_nearly_everything_and_nearly_nothing_are_told(share):
    matte = np.zeros((H, W), np.uint8)
    matte.ravel()[: round(share * matte.size)] = 255
    answer = meant(matte)
    assert codes(answer) == ["MATTE_ODD"]
    np.testing.assert_array_equal(answer.outline.alpha, matte)


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_a_matte_of_the_stored_photo_is_turned_where_a_look_says_so(orientation):
    upright = np.maximum(ellipse(80, 60, 140, 100), rectangle(60, 60, 140, 100))
    stored = turned_upright(upright, orientation)  # these three undo themselves
    photo = Photo(np.zeros((H, W, 3), np.uint8), None, "", orientation=orientation)
    answer = meant(stored, photo, looks_like(upright))
    assert codes(answer) == ["MATTE_ODD"]
    np.testing.assert_array_equal(answer.outline.alpha, upright)
    assert meant(upright, photo, looks_like(upright)).warnings == ()
    assert meant(stored, photo).warnings == ()  # nobody can tell without looking


def test_an_upright_photos_matte_costs_no_look():
    def look(rgb):
        raise AssertionError("looked")

    assert meant(CAR, look=look).warnings == ()
