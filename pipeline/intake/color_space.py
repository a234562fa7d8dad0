"""Which colours a picture's numbers stand for, as its file says, and their conversion to sRGB.

The formats say what wins: PNG's cICP, then its iCCP, sRGB, gAMA and cHRM (W3C PNG, third edition, 4.3); in HEIC and AVIF a profile before
the numbers of nclx (ISO/IEC 23008-12, 6.5.5; AVIF 1.1, 2.3); then EXIF (DCF 2.0: Adobe RGB is "R03"). A picture that says nothing is sRGB,
as for every browser; one that says what cannot be followed is taken as sRGB, with a warning.
"""

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pipeline.intake import tone
from pipeline.intake.boxes import Nclx

Matrix: TypeAlias = NDArray[np.float64]  # (3, 3)

PROFILE_IGNORED = "PROFILE_IGNORED: The picture's colour profile cannot be used, so its colours were taken as sRGB."
HDR_TONE_MAPPED = "HDR_TONE_MAPPED: The picture is HDR ({name}); what is brighter than white was compressed to what a screen shows."


def assumed(why: str, taken: str = "sRGB") -> str:
    """The warning that colours were taken as something that the file does not say."""
    return f"COLOUR_SPACE_ASSUMED: {why}; its colours were taken as {taken}."


#: Chromaticities x, y of red, green, blue and white by their number in ITU-T H.273, table 2.
_D65, _C_WHITE = (0.3127, 0.3290), (0.310, 0.316)
PRIMARIES: dict[int, tuple[float, ...]] = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65),  # BT.709, sRGB
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *_C_WHITE),  # BT.470 M
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),  # BT.601, 625 lines
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),  # BT.601, 525 lines
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),  # SMPTE ST 240
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *_C_WHITE),  # film
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),  # BT.2020, BT.2100
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),  # DCI P3
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),  # Display P3
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),  # EBU 3213
}
ADOBE_RGB = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *_D65)  # Adobe RGB (1998), 4.3

#: Gamma by the number in H.273, table 3; 0 is sRGB's own curve. Cameras' curves (1, 6, 7, 14, 15) are shown by screens as sRGB's.
_GAMMAS = {1: 0.0, 4: 2.2, 5: 2.8, 6: 0.0, 7: 0.0, 8: 1.0, 13: 0.0, 14: 0.0, 15: 0.0, 17: 2.6}
_UNSPECIFIED = 2
_ADOBE_GAMMA = 563 / 256

#: PNG's gAMA that stands for sRGB's curve (W3C PNG, 11.3.2.4), and how far another may be from it, as libpng has it.
_SRGB_GAMA, _SAME_GAMA = 0.45455, 0.05

#: A chromaticity that differs by less is the same one, rounded.
_SAME_CHROMATICITY = 0.002

#: Bradford's cone responses (ICC.1:2022, annex E), and the white of profiles, D50, as XYZ.
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.96422, 1.0, 0.82491])


@dataclass(frozen=True, slots=True)
class Space:
    """R'G'B' by the chromaticities of its primaries and white, and a gamma (0: sRGB's curve) or HDR's `transfer`, PQ or HLG."""

    primaries: tuple[float, ...]
    gamma: float = 0.0
    transfer: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """What a file says of its colours: a `profile`, or a `space`, or neither; `warnings` of what cannot be followed."""

    profile: bytes | None = None
    space: Space | None = None
    warnings: tuple[str, ...] = ()


def by_number(said: Nclx) -> Said:
    """The space of H.273's numbers."""
    if said.primaries == _UNSPECIFIED and said.transfer == _UNSPECIFIED:
        return Said()
    hdr = said.transfer in (tone.PQ, tone.HLG)
    primaries = PRIMARIES.get(said.primaries)
    if (primaries is None and said.primaries != _UNSPECIFIED) or not (hdr or said.transfer in _GAMMAS or said.transfer == _UNSPECIFIED):
        return Said(warnings=(assumed(f"the picture's colour space ({said.primaries}/{said.transfer} in ITU-T H.273) is not read"),))
    warnings: tuple[str, ...] = ()
    if primaries is None:
        primaries, name = (PRIMARIES[9], "BT.2020's") if hdr else (PRIMARIES[1], "sRGB's")
        warnings = (assumed("the picture does not say which primaries its colours have", name),)
    elif said.transfer == _UNSPECIFIED and said.primaries != 1:
        warnings = (assumed("the picture does not say which curve its colours have", "of sRGB's"),)
    return Said(space=Space(primaries, _GAMMAS.get(said.transfer, 0.0), said.transfer if hdr else 0), warnings=warnings)


def by_png(chunks: dict[bytes, bytes], profile: bytes | None) -> Said:
    """What a PNG's chunks say, the first of them that is there."""
    cicp = chunks.get(b"cICP", b"")
    if len(cicp) == 4:
        return by_number(Nclx(cicp[0], cicp[1]))
    if profile:
        return Said(profile)
    if b"sRGB" in chunks:
        return Said(space=Space(PRIMARIES[1]))
    primaries, gamma, warnings = PRIMARIES[1], 0.0, []
    said, gama = chunks.get(b"cHRM", b""), int.from_bytes(chunks.get(b"gAMA", b"")) / 100_000
    if len(said) == 32:  # white, red, green, blue
        values = [v / 100_000 for v in struct.unpack(">8I", said)]
        primaries = (*values[2:], *values[:2])
        if not gama and not _is_srgb(Space(primaries)):
            warnings.append(assumed("the picture does not say which curve its colours have", "of sRGB's"))
    if gama and abs(gama / _SRGB_GAMA - 1) > _SAME_GAMA:
        gamma = 1 / gama
        if not said:
            warnings.append(assumed("the picture does not say which primaries its colours have", "sRGB's"))
    if not said and not gama:
        return Said()
    return Said(space=Space(primaries, gamma), warnings=tuple(warnings))


def by_exif(exif: Image.Exif) -> Said:
    """What EXIF says: sRGB, Adobe RGB (by the interoperability index or the number 2), primaries of its own, or "uncalibrated"."""
    about = exif.get_ifd(0x8769)
    color_space, index = about.get(0xA001), str(exif.get_ifd(0xA005).get(1, ""))
    if color_space == 2 or index.startswith("R03"):
        return Said(space=Space(ADOBE_RGB, _ADOBE_GAMMA))
    if color_space == 1:
        return Said()
    white, primaries = exif.get(318), exif.get(319)
    if isinstance(white, tuple) and isinstance(primaries, tuple) and len(white) == 2 and len(primaries) == 6:
        own = Space((*map(float, primaries), *map(float, white)), _gamma(about.get(0xA500)))
        curve = () if own.gamma or _is_srgb(own) else (assumed("the picture does not say which curve its colours have", "of sRGB's"),)
        return Said(space=own, warnings=curve)
    if color_space == 0xFFFF:
        return Said(warnings=(assumed("the picture's EXIF says that it is not sRGB, and not what it is"),))
    return Said()


def _gamma(said: object) -> float:
    try:
        value = float(said)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return value if 1 <= value <= 4 and abs(value / 2.2 - 1) > _SAME_GAMA else 0.0


def _is_srgb(space: Space) -> bool:
    near = max(abs(a - b) for a, b in zip(space.primaries, PRIMARIES[1], strict=True)) < _SAME_CHROMATICITY
    return near and not space.gamma and not space.transfer


def to_srgb(colour: Image.Image, said: Said, warnings: list[str]) -> Image.Image:
    """The picture (mode L, RGB, CMYK or LAB) in sRGB, `warnings` added to."""
    warnings.extend(said.warnings)
    if colour.mode == "LAB":
        return _through(colour, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    space = said.space
    if said.profile:
        numbers = _cicp_of(said.profile)
        if numbers is None or numbers.transfer not in (tone.PQ, tone.HLG):
            return _by_profile(colour, said.profile, warnings)
        space = by_number(numbers).space
    if colour.mode == "CMYK":
        warnings.append(assumed("the picture is CMYK without a colour profile", "the complement of sRGB"))
        return colour
    return colour if space is None or _is_srgb(space) else _by_space(colour.convert("RGB"), space, warnings)


def _by_space(colour: Image.Image, space: Space, warnings: list[str]) -> Image.Image:
    """Out of a space by its primaries and its curve; through a profile that is made of them, HDR by its own way."""
    try:
        to_xyz = _to_xyz(space.primaries)
        if space.transfer:
            mapped = tone.to_srgb(colour, space.transfer, np.linalg.inv(_to_xyz(PRIMARIES[1])) @ to_xyz)
            warnings.append(HDR_TONE_MAPPED.format(name="PQ" if space.transfer == tone.PQ else "HLG"))
            return mapped
        return _through(colour, ImageCms.ImageCmsProfile(BytesIO(matrix_profile(to_xyz, space.gamma))))
    except (np.linalg.LinAlgError, struct.error, ValueError, OSError, ImageCms.PyCMSError):
        warnings.append(assumed("the primaries that the picture says are none"))
        return colour


def _by_profile(colour: Image.Image, profile: bytes, warnings: list[str]) -> Image.Image:
    """Through the embedded profile; one that is broken or belongs to another kind of picture is left out, with a warning.

    CMYK is then converted by complement, as Pillow and browsers do.
    """
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        fitting = colour.convert("RGB") if space == "RGB" and colour.mode == "L" else colour
        if space == {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}[fitting.mode]:
            return _through(fitting, source)
        warnings.append(PROFILE_IGNORED)
    except (OSError, ImageCms.PyCMSError, UnicodeDecodeError):  # the last: a colour space whose name is no ASCII
        warnings.append(PROFILE_IGNORED)
    return colour


def _through(colour: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    """Relative colorimetric, black point compensated."""
    target = ImageCms.createProfile("sRGB")
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    converted = ImageCms.profileToProfile(colour, source, target, intent, "RGB", flags=flags)
    if converted is None:
        raise ImageCms.PyCMSError("no picture came back")
    return converted


def _cicp_of(profile: bytes) -> Nclx | None:
    """The numbers of H.273 that a profile holds (ICC.1:2022, 9.2.17); HDR profiles do, and are no use without tone mapping."""
    count = min(int.from_bytes(profile[128:132]), 200)
    for at in range(132, 132 + 12 * count, 12):
        if profile[at : at + 4] == b"cicp":
            start = int.from_bytes(profile[at + 4 : at + 8])
            body = profile[start : start + 12]
            return Nclx(body[8], body[9]) if len(body) == 12 else None
    return None


def _to_xyz(primaries: tuple[float, ...]) -> Matrix:
    """Linear R, G, B → XYZ under D50: the primaries scaled to their white (SMPTE RP 177), adapted after Bradford.

    Raises LinAlgError or ValueError for chromaticities that span no colours.
    """
    points = np.array(primaries, np.float64).reshape(4, 2)
    if not np.isfinite(points).all() or (points[:, 1] < 1e-4).any() or (np.abs(points) > 2).any():
        raise ValueError("no chromaticities")
    xyz = np.stack([points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]])
    matrix = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
    cones = _BRADFORD @ xyz[:, 3]
    if abs(np.linalg.det(matrix)) < 1e-3 or (cones <= 0).any():
        raise ValueError("no gamut")
    adapted = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / cones) @ _BRADFORD
    return np.asarray(adapted @ matrix)


def matrix_profile(to_xyz: Matrix, gamma: float) -> bytes:
    """An ICC profile (ICC.1:2022) of a linear matrix to XYZ under D50 and a gamma, 0 for sRGB's curve."""
    if gamma:
        curve = b"para" + struct.pack(">IHHi", 0, 0, 0, round(gamma * 65536))
    else:  # IEC 61966-2-1
        numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        curve = b"para" + struct.pack(">IHH5i", 0, 3, 0, *(round(v * 65536) for v in numbers))
    columns = [b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in column)) for column in (_D50, *to_xyz.T)]
    tags = dict(zip((b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)) | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI", start + len(body), b"lcms", 0x04300000) + b"mntrRGB XYZ "
    head += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", *(round(v * 65536) for v in _D50))
    return head.ljust(128, b"\0") + table + body
