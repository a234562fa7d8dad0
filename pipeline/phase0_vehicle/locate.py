"""The vehicles of a photo by an open-set detector that is asked for them by name."""

from pipeline.phase0_vehicle.choose import apart
from pipeline.steps import Find, Locate
from pipeline.values import Found, Rgb

#: What a vehicle is called. The general word catches what the others do not name.
VEHICLES = ("car", "truck", "bus", "van", "camper", "motorcycle", "scooter", "tractor", "vehicle")


def make_locate(find: Find, score_threshold: float = 0.3, same_thing: float = 0.6) -> Locate:
    """The step that finds vehicles with `find`, which takes any label: those of at least `score_threshold` (0..1), best first.

    Of two boxes that overlap by more than `same_thing` (IoU), whatever they are called, the better one stays.
    """

    def locate(rgb: Rgb) -> list[Found]:
        found = find(rgb, (0.0, 0.0, float(rgb.shape[1]), float(rgb.shape[0])), VEHICLES)
        return apart([one for one in found if one.score >= score_threshold], same_thing)

    return locate
