"""What a job's preset and its own keys come to, for the neural drawing."""

import pytest

from pipeline import settings
from pipeline.job import Job
from pipeline.run import illustrate_settings
from tests.support.stand_in_steps import never, stand_in_steps


def told(few_step=True, **keys):
    """The drawing's brief, and the warnings, of a job with these keys."""
    steps = stand_in_steps(name="neural", draw=None, redraw=never, few_step=few_step)
    made, warnings = illustrate_settings(Job(image_base64="-", **keys), steps, settings.load())
    return made.redraw.brief, warnings


def test_a_few_step_drawing_at_full_guidance_is_capped_and_says_so():
    brief, warnings = told(preset="draft", guidance_scale=7.5)
    assert brief.few_step
    assert brief.guidance == 2.0
    (warning,) = warnings
    assert warning.startswith("GUIDANCE_CAPPED: ")
    assert "7.5" in warning


@pytest.mark.parametrize("guidance", [None, 0.0, 1.0, 1.5, 2.0])
def test_what_few_steps_can_do_is_theirs(guidance):
    brief, warnings = told(preset="draft", guidance_scale=guidance)
    assert brief.guidance == (1.0 if guidance is None else guidance)
    assert warnings == ()


@pytest.mark.parametrize("keys", [{}, {"preset": "best"}, {"preset": "draft", "few_step": False}])
def test_other_schedules_take_any_guidance(keys):
    brief, warnings = told(**keys, guidance_scale=7.5)
    assert not brief.few_step
    assert brief.guidance == 7.5
    assert not any("GUIDANCE" in warning for warning in warnings)
