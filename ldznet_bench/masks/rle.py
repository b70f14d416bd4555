"""COCO run-length codes: in and out, byte-equal to pycocotools, and safe on codes that a user's JSON brings.

A code lists the lengths of alternating runs of zeros and ones down the columns. pycocotools trusts it: a code that ends in the middle of a
number is read past its end, and one whose runs do not fill the bitmap leaves uninitialised memory in the mask. Here every code is unpacked
and checked with NumPy before a bitmap is made, which is also twice as fast as pycocotools' decode with the copy to row-major order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ldznet_bench.errors import BenchError, DataError
from ldznet_bench.masks.geometry import Rle
from ldznet_bench.masks.spans import Spans, filled, spans_of

# One byte a pixel; Pillow refuses images above 1.8e8 pixels, so a larger canvas is a mistake, refused before memory is asked for.
MAX_PIXELS = 2**28
_REMEDY = "Write it anew with pycocotools.mask.encode."
_BITS = 5  # of a number in each character
_MORE = 0x20  # another character of the same number follows
_FIRST_CHARACTER = 48
_MAX_CHARACTERS = 7  # of one number: 35 bits, more than any run or difference of runs under MAX_PIXELS needs
# By the number of characters: where their five bits lie in a word, and what makes them text.
_DIGITS = np.array([sum(0x1F << 8 * place for place in range(n)) for n in range(_MAX_CHARACTERS + 1)], dtype=np.uint64)
_ASCII = np.array([sum(_FIRST_CHARACTER + _MORE * (place < n - 1) << 8 * place for place in range(n)) for n in range(_MAX_CHARACTERS + 1)], np.uint64)


def check_canvas(height: int, width: int, error: type[BenchError] = DataError) -> None:
    """Refuses a canvas without pixels, or larger than `MAX_PIXELS`, before anything of its size is allocated.

    Raises:
        BenchError: of class `error`.
    """
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise error(
            f"a mask of {height} rows and {width} columns was asked for; from 1 to {MAX_PIXELS} pixels are possible.",
            "Check height and width in the annotation or the size of the run-length code.",
        )


def encode(mask: npt.NDArray[np.bool_]) -> Rle:
    """The compressed code of a mask, byte for byte as ``pycocotools.mask.encode`` writes it.

    Args:
        mask: bool (h, w), h and w at least 1, in any memory order.
    """
    return from_spans(spans_of(mask), *mask.shape)


def from_spans(spans: Spans, height: int, width: int) -> Rle:
    """The compressed code of a mask's spans, see `ldznet_bench.masks.spans`."""
    return Rle(height, width, strings([spans], [height * width])[0])


def strings(spans: Sequence[Spans], pixels: Sequence[int]) -> list[bytes]:
    """The compressed codes of several masks, written at once.

    Args:
        spans: of each mask.
        pixels: how many each has.
    """
    bounds = np.concatenate([part for its, size in zip(spans, pixels, strict=True) for part in ((0,), its, (size,))])
    stops = np.cumsum([len(its) + 2 for its in spans])
    runs = np.delete(np.diff(bounds), stops[:-1] - 1)  # not from the foot of one mask to the head of the next
    lasts = stops - np.arange(1, len(stops) + 1) - 1
    empty = (runs[lasts] == 0) & (np.diff(lasts, prepend=-1) > 1)  # a code does not say that no zeros follow
    return _to_strings(np.delete(runs, lasts[empty]), lasts + 1 - np.cumsum(empty))


def decode(rle: Rle, error: type[BenchError] = DataError) -> npt.NDArray[np.bool_]:
    """The mask of a code: bool (rle.height, rle.width), C-contiguous, writable.

    Raises:
        BenchError: of class `error`, where the code is not valid (see `runs`).
    """
    return filled(_toggles(runs(rle, error)), rle.height, rle.width)


def area(rle: Rle, error: type[BenchError] = DataError) -> int:
    """How many pixels a code covers, without making the mask.

    Raises:
        BenchError: of class `error`, where the code is not valid (see `runs`).
    """
    return int(runs(rle, error)[1::2].sum())


def spans(rle: Rle, error: type[BenchError] = DataError) -> Spans:
    """The spans of a code's mask, see `ldznet_bench.masks.spans`.

    Raises:
        BenchError: of class `error`, where the code is not valid (see `runs`).
    """
    toggles = _toggles(runs(rle, error))
    return np.append(toggles, rle.height * rle.width) if toggles.size & 1 else toggles


def runs(rle: Rle, error: type[BenchError] = DataError) -> npt.NDArray[np.int64]:
    """Lengths of the alternating runs of a code, zeros first, down the columns: int64 (m,), none negative, their sum the pixels.

    Raises:
        BenchError: of class `error`: a character that no code has, a code that is cut short, a negative run, runs that do not fill the
            bitmap, or a bitmap without pixels or above `MAX_PIXELS`.
    """
    check_canvas(rle.height, rle.width, error)
    counts = _undo_differences(_numbers(np.frombuffer(rle.counts, dtype=np.uint8), error))
    _check_runs(counts, rle.height, rle.width, error)
    return counts


def from_uncompressed(counts: Any, height: int, width: int, error: type[BenchError] = DataError) -> Rle:  # noqa: ANN401 - parsed JSON
    """The compressed code of a list of run lengths, as COCO writes its crowd regions.

    Args:
        counts: run lengths, zeros first, down the columns: a list or an array of integers.
        height: rows of the bitmap.
        width: columns of the bitmap.
        error: class of the error that is raised.

    Raises:
        BenchError: of class `error`: not a list of integers, a negative run, or runs that do not fill the bitmap.
    """
    check_canvas(height, width, error)
    if not isinstance(counts, list | tuple | np.ndarray) or any(isinstance(count, bool | str | bytes | list) for count in counts):
        raise _corrupt("its counts are not a list of integers", height, width, error)
    lengths = np.asarray(counts)
    if lengths.ndim != 1 or (lengths.size and lengths.dtype.kind not in "iu"):
        raise _corrupt("its counts are not a list of integers of at most 64 bits", height, width, error)
    lengths = lengths.astype(np.int64)
    _check_runs(lengths, height, width, error)
    return Rle(height, width, _to_strings(lengths, np.array([lengths.size]))[0])


def from_coco(obj: Mapping[str, Any], height: int | None = None, width: int | None = None, error: type[BenchError] = DataError) -> Rle:
    """The code in a COCO dict ``{"size": [h, w], "counts": …}``, checked.

    Args:
        obj: the dict; its counts are the compressed code as str or bytes, or a list of run lengths.
        height: rows that the size must state; None takes what it states.
        width: columns that the size must state; None takes what it states.
        error: class of the error that is raised: `PredictionError` for what a model's author hands in.

    Raises:
        BenchError: of class `error`: no dict of that form, another size, or a code that is not valid (see `runs`).
    """
    stated_height, stated_width = _size(obj, error)
    if (height is not None and stated_height != height) or (width is not None and stated_width != width):
        raise error(
            f"a run-length code states {stated_height} rows and {stated_width} columns where {height} and {width} are expected.",
            "COCO sizes are [height, width]; encode the mask at the size of the annotation.",
        )
    counts = obj["counts"]
    if not isinstance(counts, str | bytes):
        return from_uncompressed(counts, stated_height, stated_width, error)
    code = counts if isinstance(counts, bytes) else counts.encode("utf-8", "surrogatepass")
    rle = Rle(stated_height, stated_width, code)
    runs(rle, error)
    return rle


def _size(obj: Mapping[str, Any], error: type[BenchError]) -> tuple[int, int]:
    size = obj.get("size") if isinstance(obj, Mapping) and "counts" in obj else None
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(_is_integer(side) for side in size):
        raise error(
            "a run-length code is not of the form {'size': [height, width], 'counts': string or list}.",
            "Write it with pycocotools.mask.encode, its counts decoded to text.",
        )
    return int(size[0]), int(size[1])


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _corrupt(why: str, height: int, width: int, error: type[BenchError]) -> BenchError:
    return error(f"a run-length code of {height} rows and {width} columns is not valid: {why}.", _REMEDY)


def _check_runs(counts: npt.NDArray[np.int64], height: int, width: int, error: type[BenchError]) -> None:
    if counts.size and (counts.min() < 0 or counts.max() > height * width):
        raise _corrupt("a run is negative or longer than the bitmap", height, width, error)
    if (total := int(counts.sum())) != height * width:
        raise _corrupt(f"its runs sum to {total} pixels, the bitmap has {height * width}", height, width, error)


def _toggles(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Column-major positions where the value changes, ascending and distinct; runs of no length cancel out."""
    ends = np.cumsum(counts)
    toggles = ends[:-1]
    if np.count_nonzero(counts[1:]) != counts.size - 1:
        toggles, times = np.unique(toggles, return_counts=True)
        toggles = toggles[(times & 1 == 1) & (toggles < ends[-1])]
    return toggles


def _numbers(code: npt.NDArray[np.uint8], error: type[BenchError]) -> npt.NDArray[np.int64]:
    """The signed numbers that a compressed code spells, five bits a character, least significant first."""
    digits = code - np.uint8(_FIRST_CHARACTER)  # wraps round for what lies below "0", and is refused with what lies above "o"
    if digits.size and digits.max() > 63:
        raise error("a run-length code holds a character that no code has.", _REMEDY)
    ends = np.flatnonzero(digits < _MORE)
    if ends.size == 0 or ends[-1] != digits.size - 1:
        raise error("a run-length code is empty or cut short.", _REMEDY)
    starts = np.concatenate(((0,), ends[:-1] + 1))
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > _MAX_CHARACTERS:
        raise error("a run-length code holds a number of more than 35 bits.", _REMEDY)
    numbers = np.zeros(ends.size, dtype=np.int64)
    for place in range(longest):
        has = np.flatnonzero(lengths > place) if place else slice(None)
        numbers[has] |= (digits[starts[has] + place] & 0x1F).astype(np.int64) << (_BITS * place)
    negative = digits[ends] & 0x10 != 0
    numbers[negative] -= np.int64(1) << (_BITS * lengths[negative])
    return numbers


def _undo_differences(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """From the fourth on, a number is the difference to the one two before it."""
    counts = numbers.copy()
    np.cumsum(numbers[1::2], out=counts[1::2])
    np.cumsum(numbers[2::2], out=counts[2::2])
    return counts


def _to_strings(counts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]) -> list[bytes]:
    """Compresses run lengths of several codes: differences, then five bits a character, as few characters as hold the sign.

    Args:
        counts: run lengths, one code after the other.
        stops: where each code ends.
    """
    numbers = counts.astype(np.int32)  # none above MAX_PIXELS, nor a difference
    numbers[2:] -= counts[:-2].astype(np.int32)
    firsts = np.concatenate(((0,), stops[:-1]))
    for place in range(3):  # the first three of a code are no differences
        its = firsts[firsts + place < stops] + place
        numbers[its] = counts[its]
    magnitude = numbers ^ (numbers >> 31)
    lengths = np.ones(numbers.size, dtype=np.intp)
    longest = 1
    while int(magnitude.max()) >> (_BITS * longest - 1):
        lengths += magnitude >> (_BITS * longest - 1) != 0
        longest += 1
    characters = _words(numbers, lengths, longest).view(np.uint8)
    text, ends = characters[characters != 0].tobytes(), np.cumsum(lengths)[stops - 1].tolist()
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _words(numbers: npt.NDArray[np.int32], lengths: npt.NDArray[np.intp], longest: int) -> npt.NDArray[Any]:
    """The characters of each number as the bytes of a word, the first one lowest; bytes behind the last one are 0, which no character is."""
    bits: npt.NDArray[Any] = numbers.view(np.uint32) if longest <= 4 else numbers.astype(np.int64).view(np.uint64)
    words = np.zeros_like(bits)
    for place in range(longest):
        words |= (bits << 3 * place) & (0x1F << 8 * place)  # from bit 5 * place to bit 8 * place
    words &= _DIGITS.astype(bits.dtype).take(lengths)
    words += _ASCII.astype(bits.dtype).take(lengths)
    little: npt.NDArray[Any] = words.astype(bits.dtype.newbyteorder("<"), copy=False)
    return little
