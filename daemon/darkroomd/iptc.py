"""IPTC's older form (IIM): title, keywords, author, place; as bytes, and as what XMP calls the same things."""

import re
from collections.abc import Iterator

# dataset of record 2 -> (property of XMP, its form there); IPTC Photo Metadata Standard, mapping guidelines
IN_XMP = {
    5: ("dc:title", "Alt"),
    15: ("photoshop:Category", ""),
    25: ("dc:subject", "Bag"),
    40: ("photoshop:Instructions", ""),
    55: ("photoshop:DateCreated", ""),
    80: ("dc:creator", "Seq"),
    85: ("photoshop:AuthorsPosition", ""),
    90: ("photoshop:City", ""),
    92: ("Iptc4xmpCore:Location", ""),
    95: ("photoshop:State", ""),
    100: ("Iptc4xmpCore:CountryCode", ""),
    101: ("photoshop:Country", ""),
    103: ("photoshop:TransmissionReference", ""),
    105: ("photoshop:Headline", ""),
    110: ("photoshop:Credit", ""),
    115: ("photoshop:Source", ""),
    116: ("dc:rights", "Alt"),
    120: ("dc:description", "Alt"),
    122: ("photoshop:CaptionWriter", ""),
}
PLACES = frozenset({26, 27, 90, 92, 95, 100, 101})
PHOTOSHOP = b"Photoshop 3.0\0"
RESOURCE = b"8BIM\x04\x04\0\0"


def records(block: bytes) -> bytes:
    """The IIM records alone, out of the wrapping that JPEG files have around them."""
    if not block.startswith(PHOTOSHOP):
        return block
    at = len(PHOTOSHOP)
    while block[at : at + 4] == b"8BIM":
        name = 1 + block[at + 6] if at + 6 < len(block) else 1
        length_at = at + 6 + name + name % 2
        length = int.from_bytes(block[length_at : length_at + 4], "big")
        body = block[length_at + 4 : length_at + 4 + length]
        if block[at + 4 : at + 6] == RESOURCE[4:6]:
            return body
        at = length_at + 4 + length + length % 2
    return b""


def wrapped(iim: bytes) -> bytes:
    """The records as a JPEG file wants them."""
    return PHOTOSHOP + RESOURCE + len(iim).to_bytes(4, "big") + iim + bytes(len(iim) % 2)


def without_place(iim: bytes) -> bytes:
    """The records without those that name a place."""
    return b"".join(raw for record, dataset, _, raw in _split(iim) if not (record == 2 and dataset in PLACES))


def as_xmp(iim: bytes) -> dict[str, tuple[str, list[str]]]:
    """XMP's properties with the same meaning: name -> (form: Alt, Bag, Seq or one plain value, its texts)."""
    found: dict[str, tuple[str, list[str]]] = {}
    for record, dataset, value, _ in _split(iim):
        if record == 2 and dataset in IN_XMP:
            name, form = IN_XMP[dataset]
            text = _text(value)
            if dataset == 55 and re.fullmatch(r"\d{8}", text):
                text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
            found.setdefault(name, (form, []))[1].append(text)
    return found


def _split(iim: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """(record, dataset, value, the bytes of all that) until something else comes."""
    at = 0
    while at + 5 <= len(iim) and iim[at] == 0x1C:
        length, start = int.from_bytes(iim[at + 3 : at + 5], "big"), at + 5
        if length & 0x8000:  # a length of that many bytes follows
            start += length & 0x7FFF
            length = int.from_bytes(iim[at + 5 : start], "big")
        if start + length > len(iim):
            return
        yield iim[at + 1], iim[at + 2], iim[start : start + length], iim[at : start + length]
        at = start + length


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
