"""One scan of a JPEG, decoded as far as it takes to know whether its data is whole (ITU-T T.81, annexes F and G).

libjpeg draws whatever it is given, and tells of damage on standard error only. Nothing is drawn here: codes are counted through to
the last block. Every index is checked (`boundscheck`); the work is linear in bytes and blocks.
"""

from typing import Any

import numpy as np
from numba import njit, types, uint64
from numpy.typing import NDArray

#: What a walk ends with: every block was there; the data ended before the last block; the data is not what an encoder writes.
WHOLE, SHORT, CORRUPT = 0, 1, 2

#: Cameras leave a few stray bytes before a marker; fill bytes, all of one value, may be any number.
STRAY_BYTES = 8

#: Bits of the largest differences and coefficients of 8-bit samples are 11 and 10 (T.81, tables F.1 and F.2); one more for rounding.
_DC_BITS, _AC_BITS = 12, 11

#: A reader is (next byte, end of the data, bits that wait in its buffer, blocks that have no further coefficient in this scan).
_AT, _END, _BITS, _RUN = 0, 1, 2, 3


@njit(cache=True, nogil=True, boundscheck=True)
def _filled(data: Any, at: Any, end: Any, bits: Any, held: Any) -> Any:
    """Bytes into the bit buffer until it holds 49 bits or more, stuffed zeros left out, not beyond a marker."""
    while bits <= 48 and at < end:
        byte = data[at]
        if byte == 0xFF:
            if at + 1 >= end or data[at + 1] != 0:
                break
            at += 1
        at += 1
        held = (held << uint64(8)) | uint64(byte)
        bits += 8
    return at, bits, held


@njit(cache=True, nogil=True, boundscheck=True)
def _fill(data: Any, reader: Any, buffer: Any) -> None:
    reader[_AT], reader[_BITS], buffer[0] = _filled(data, reader[_AT], reader[_END], reader[_BITS], buffer[0])


@njit(cache=True, nogil=True, boundscheck=True)
def _next(bits: Any, held: Any, count: Any) -> Any:
    """The `count` bits (at most 16) that come next; zeros beyond the last."""
    if bits >= count:
        return np.int64((held >> uint64(bits - count)) & uint64((1 << count) - 1))
    return np.int64((held << uint64(count - bits)) & uint64((1 << count) - 1))


@njit(cache=True, nogil=True, boundscheck=True)
def _peek(reader: Any, buffer: Any, count: Any) -> Any:
    return _next(reader[_BITS], buffer[0], count)


@njit(cache=True, nogil=True, boundscheck=True)
def _missing(reader: Any) -> Any:
    """Why bits are missing: the data's end, or a marker where none belongs. It is negative, unlike a value."""
    return -SHORT if reader[_AT] >= reader[_END] else -CORRUPT


@njit(cache=True, nogil=True, boundscheck=True)
def _take(data: Any, reader: Any, buffer: Any, count: Any) -> Any:
    """The next `count` bits, or what is wrong, negative."""
    if reader[_BITS] < count:
        _fill(data, reader, buffer)
        if reader[_BITS] < count:
            return _missing(reader)
    value = _peek(reader, buffer, count)
    reader[_BITS] -= count
    return value


@njit(cache=True, nogil=True, boundscheck=True)
def _symbol(data: Any, reader: Any, buffer: Any, codes: Any) -> Any:
    """The symbol of the next code (T.81, F.2.2.3), or what is wrong, negative."""
    if reader[_BITS] < 16:
        _fill(data, reader, buffer)
    found = np.int64(codes[_peek(reader, buffer, 16)])
    length = found >> 8
    if found == 0:
        return _missing(reader) if reader[_BITS] < 16 else -CORRUPT
    if length > reader[_BITS]:
        return _missing(reader)
    reader[_BITS] -= length
    return found & 255


@njit(cache=True, nogil=True, boundscheck=True)
def _dc(data: Any, reader: Any, buffer: Any, codes: Any, predicted: Any, part: Any, low: Any, largest: Any) -> Any:
    """One DC difference (F.2.2.1); one that leads beyond what samples can be is corrupt."""
    size = _symbol(data, reader, buffer, codes)
    if size < 0 or size > _DC_BITS:
        return -size if size < 0 else CORRUPT
    if size > 0:
        value = _take(data, reader, buffer, size)
        if value < 0:
            return -value
        predicted[part] += value if value >> (size - 1) else value - (1 << size) + 1
    return CORRUPT if abs(predicted[part] << low) > largest else WHOLE


@njit(cache=True, nogil=True, boundscheck=True)
def _ac(data: Any, reader: Any, buffer: Any, codes: Any, first: Any, last: Any, masks: Any, index: Any) -> Any:
    """One block's coefficients of a sequential scan (F.2.2.2; `index` -1) or of a progressive one's first turn (G.1.2.2).

    Most of a picture's bits are read here, so the reader's state is held in variables meanwhile.
    """
    at, end, bits, held, k, status = reader[_AT], reader[_END], reader[_BITS], buffer[0], first, WHOLE
    while k <= last:
        if bits < 32:
            at, bits, held = _filled(data, at, end, bits, held)
        found = np.int64(codes[_next(bits, held, 16)])
        length, zeros, size = found >> 8, (found >> 4) & 15, found & 15
        ends = size == 0 and zeros < 15  # this block, and in a progressive scan more of them
        k += zeros if not ends else 0
        extra = zeros if ends else size
        if (found == 0 and bits < 16) or length + extra > bits:
            status = SHORT if at >= end else CORRUPT
        elif found == 0 or k > last or size > _AC_BITS or (ends and zeros > 0 and index < 0):
            status = CORRUPT
        if status != WHOLE:
            break
        bits -= length + extra
        if ends:
            reader[_RUN] = (1 << zeros) + np.int64((held >> uint64(bits)) & uint64((1 << zeros) - 1)) - 1
            break
        if size > 0 and index >= 0:
            masks[index] |= uint64(1) << uint64(k)
        k += 1
    reader[_AT], reader[_BITS], buffer[0] = at, bits, held
    return status


@njit(cache=True, nogil=True, boundscheck=True)
def _corrections(data: Any, reader: Any, buffer: Any, known: Any, first: Any, last: Any) -> Any:
    """A bit for each coefficient of `known` from `first` to `last`."""
    for k in range(first, last + 1):
        if (known >> uint64(k)) & uint64(1):
            bit = _take(data, reader, buffer, 1)
            if bit < 0:
                return -bit
    return WHOLE


@njit(cache=True, nogil=True, boundscheck=True)
def _refined(data: Any, reader: Any, buffer: Any, codes: Any, first: Any, last: Any, masks: Any, index: Any) -> Any:
    """One block's coefficients of a progressive scan's further turns (G.1.2.3)."""
    k, known = first, masks[index]
    while k <= last:
        symbol = _symbol(data, reader, buffer, codes)
        if symbol < 0:
            return -symbol
        zeros, size = symbol >> 4, symbol & 15
        extra = size if size > 0 else (zeros if zeros < 15 else 0)
        value = _take(data, reader, buffer, extra) if extra > 0 else 0
        if value < 0 or size > 1:
            return -value if value < 0 else CORRUPT
        if size == 0 and zeros < 15:
            reader[_RUN] = (1 << zeros) + value - 1
            return _corrections(data, reader, buffer, known, k, last)
        while k <= last:  # only coefficients that are zero so far are counted; the others have their bits between
            if (known >> uint64(k)) & uint64(1):
                bit = _take(data, reader, buffer, 1)
                if bit < 0:
                    return -bit
            elif zeros == 0:
                break
            else:
                zeros -= 1
            k += 1
        if size > 0:
            if k > last:
                return CORRUPT
            masks[index] |= uint64(1) << uint64(k)
        k += 1
    return WHOLE


@njit(cache=True, nogil=True, boundscheck=True)
def _restart(data: Any, reader: Any, number: Any) -> Any:
    """Go on behind the restart marker of that number (F.1.1.5); what is wrong where something else stands there."""
    start, at, end = reader[_AT], reader[_AT], reader[_END]
    same = True
    while at < end and not (data[at] == 0xFF and at + 1 < end and data[at + 1] != 0 and data[at + 1] != 0xFF):
        same = same and data[at] == data[start]
        at += 1
    if at >= end:
        return SHORT
    if data[at + 1] != 0xD0 + number or (at - start > STRAY_BYTES and not same):
        return CORRUPT
    reader[_AT], reader[_BITS], reader[_RUN] = at + 2, 0, 0
    return WHOLE


@njit(cache=True, nogil=True, boundscheck=True)
def _left(data: Any, reader: Any) -> Any:
    """Whether the rest behind the last block is an encoder's: the bits of its last byte, fill, or a few stray bytes."""
    at, end = reader[_AT], reader[_END]
    same = True
    for place in range(at, end):
        same = same and data[place] == data[at]
    return WHOLE if same or reader[_BITS] // 8 + end - at <= STRAY_BYTES else CORRUPT


_SIGNATURE = types.Tuple((types.int64, types.int64, types.boolean))(  # type: ignore[no-untyped-call]
    types.Array(types.uint8, 1, "C", readonly=True), types.int64, types.int64, types.uint16[:, ::1], types.int64[:, ::1],
    types.uint64[::1], types.int64, types.int64, types.int64[::1], types.int64,
)  # fmt: skip


@njit(_SIGNATURE, cache=True, nogil=True, boundscheck=True)  # compiled when it is imported, not while a picture waits
def walk(
    data: Any, start: Any, end: Any, codes: Any, parts: Any, masks: Any, across: Any, mcus: Any, spectrum: Any, interval: Any
) -> tuple[int, int, bool]:
    """Walk one scan's data, `data[start:end]`, which holds no marker but restarts.

    `codes` (T, 65536) uint16: for each table the next 16 bits → length of the code · 256 + symbol, 0 where there is none.
    `parts` (C, 7) int64, a row for each component of the scan: its tables of DC and AC, blocks across and down in one MCU, blocks in a row
    of `masks`, first block in `masks`, largest DC. `masks` (B,) uint64: which coefficients of each block are not zero, kept from scan to
    scan of a progressive picture. `across`: MCUs in a row of `mcus` in all; `spectrum`: (progressive, Ss, Se, Ah, Al) of T.81, B.2.3;
    `interval` of restarts, 0 for none. A scan of AC alone has one component.

    Answers (WHOLE, SHORT or CORRUPT; MCUs that are whole; whether the data ended there as encoders end it, with a byte filled by ones).
    """
    progressive, first, last, high, low = spectrum[0] != 0, spectrum[1], spectrum[2], spectrum[3], spectrum[4]
    predicted = np.zeros(parts.shape[0], np.int64)
    reader, buffer = np.array([start, end, 0, 0], np.int64), np.zeros(1, np.uint64)
    mcu, restarts, status = 0, 0, WHOLE
    while mcu < mcus:
        if interval > 0 and mcu > 0 and mcu % interval == 0 and mcu // interval > restarts:
            status = _restart(data, reader, restarts % 8)
            if status != WHOLE:
                return status, mcu, False
            restarts += 1
            predicted[:] = 0
        if reader[_RUN] > 0 and high == 0:  # blocks without anything
            here = min(reader[_RUN], mcus - mcu, interval - mcu % interval if interval > 0 else mcus)
            reader[_RUN] -= here
            mcu += here
            continue
        if reader[_BITS] < 16:
            _fill(data, reader, buffer)
        bits = reader[_BITS]
        clean = reader[_AT] >= end and bits < 8 and _peek(reader, buffer, bits) == (1 << bits) - 1
        for part in range(parts.shape[0]):
            wide, tall = parts[part, 2], parts[part, 3]
            for block in range(wide * tall):
                index = -1
                if progressive:
                    row, column = mcu // across * tall + block // wide, mcu % across * wide + block % wide
                    index = parts[part, 5] + row * parts[part, 4] + column
                if first == 0 and high > 0:
                    status = -min(0, _take(data, reader, buffer, 1))
                elif first == 0:
                    status = _dc(data, reader, buffer, codes[parts[part, 0]], predicted, part, low, parts[part, 6])
                if status == WHOLE and last > 0:
                    table, k = codes[parts[part, 1]], max(1, first)
                    if high == 0:
                        status = _ac(data, reader, buffer, table, k, last, masks, index)
                    elif reader[_RUN] > 0:
                        reader[_RUN] -= 1
                        status = _corrections(data, reader, buffer, masks[index], k, last) if masks[index] else WHOLE
                    else:
                        status = _refined(data, reader, buffer, table, k, last, masks, index)
                if status != WHOLE:
                    return status, mcu, clean
        mcu += 1
    return _left(data, reader), mcus, True


def codes_of(counts: bytes, symbols: bytes) -> NDArray[np.uint16] | None:
    """A Huffman table (T.81, annex C) as `walk` takes it; None where it has more codes than fit."""
    table, code, at = np.zeros(65536, np.uint16), 0, 0
    for length, count in enumerate(counts, 1):
        for symbol in symbols[at : at + count]:
            span = 1 << (16 - length)
            if code + span > 65536:
                return None
            table[code : code + span] = length << 8 | symbol
            code += span
        at += count
    return table
