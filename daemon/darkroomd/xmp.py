"""XMP: the photo's own words, kept; what no longer holds, taken out; and what was done to the picture, and by what.

The note about what was done is also how a result is known again under another name or in another folder.
"""

import re
from collections.abc import Iterator, Mapping
from xml.dom import (
    expatbuilder,  # noqa: F401 - minidom loads it at its first use, when a short disk or memory would spoil a photo
    minidom,
)
from xml.dom.minidom import Document, Element
from xml.parsers.expat import ExpatError, ParserCreate

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": RDF,
    "dc": "http://purl.org/dc/elements/1.1/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "Container": "http://ns.google.com/photos/1.0/container/",
    "Item": "http://ns.google.com/photos/1.0/container/item/",
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
}
AGENT = "darkroomd"
# IPTC's word for pictures that were corrected by an algorithm which adds no content of its own
ENHANCED = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"

# what speaks of the old pixels, or of pictures and films that hung behind them in the old file
STALE = ("tiff:Orientation", "tiff:ImageWidth", "tiff:ImageLength", "exif:PixelXDimension", "exif:PixelYDimension",
         "xmp:Thumbnails", "xmpNote:HasExtendedXMP", "hdrgm:*", "Container:*", "GCamera:Motion*", "GCamera:MicroVideo*",
         )  # fmt: skip
PLACES = ("exif:GPS*", "Iptc4xmpExt:Location*", "Iptc4xmpCore:Location", "Iptc4xmpCore:CountryCode", "photoshop:City",
          "photoshop:State", "photoshop:Country")  # fmt: skip

LARGEST_BYTES = 8 << 20
DEEPEST = 100


def made_by_us(packet: bytes | None) -> str | None:
    """What was done to the picture, when darkroomd made it: the last of its events, in its own words."""
    if packet is None or AGENT.encode() not in packet:
        return None
    document = _parsed(packet)
    events = [] if document is None else document.getElementsByTagNameNS(RDF, "li")
    ours = [event for event in events if _field(event, "stEvt:softwareAgent").startswith(AGENT + " ")]
    return f"{_field(ours[-1], 'stEvt:softwareAgent')}: {_field(ours[-1], 'stEvt:parameters')}" if ours else None


def readable(packet: bytes) -> bool:
    """Whether a result can carry on what this packet says."""
    return _parsed(packet) is not None


def written(
    packet: bytes | None,
    event: str | None,
    version: str,
    *,
    location: bool = True,
    more: Mapping[str, tuple[str, list[str]]] | None = None,
    gain_map_bytes: int = 0,
) -> bytes | None:
    """The packet for a result; None when there is nothing to say.

    packet: the photo's own; one that cannot be read is left out. event: what was done, in words, for the history; None
    for a copy. location: whether places are kept. more: properties by name, for those that the packet does not have.
    gain_map_bytes: of an Ultra HDR gain map that will follow the picture in its file.
    """
    document = _parsed(packet) if packet is not None else None
    if document is None:
        if event is None and not more and not gain_map_bytes:
            return None
        document = minidom.parseString(
            f'<x:xmpmeta xmlns:x="{NAMESPACES["x"]}"><rdf:RDF xmlns:rdf="{RDF}">'
            '<rdf:Description rdf:about=""/></rdf:RDF></x:xmpmeta>'
        )
    for pattern in STALE if location else STALE + PLACES:
        _remove(document, pattern)
    for name, (form, texts) in (more or {}).items():
        if not (name in PLACES and not location) and not _has(document, name):
            _add(document, name, form, texts)
    if gain_map_bytes:
        _add_gain_map(document, gain_map_bytes)
    if event is not None:
        _add_event(document, event, version)
        if not _has(document, "Iptc4xmpExt:DigitalSourceType"):
            _add(document, "Iptc4xmpExt:DigitalSourceType", "", [ENHANCED])
    root = document.childNodes[-1].toxml()
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{root}<?xpacket end="w"?>'.encode()


def _parsed(packet: bytes) -> Document | None:
    """None for what is not XMP, and for what tries to be more: entities and document types have no place there."""
    if len(packet) > LARGEST_BYTES or b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        return None
    start, end = packet.find(b"<x:xmpmeta"), packet.rfind(b"</x:xmpmeta>")
    body = packet[start : end + 12] if 0 <= start < end else packet.strip(b"\0 \r\n\t")
    try:
        _check_depth(body)
        document = minidom.parseString(body)
    except (ExpatError, ValueError, LookupError):
        return None
    return document if document.getElementsByTagNameNS(RDF, "RDF") else None


def _check_depth(body: bytes) -> None:
    """ValueError where elements lie in each other more deeply than any real packet: minidom would overflow."""
    depth = 0

    def begin(_name: str, _attributes: object) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise ValueError("too deep")

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.Parse(body, True)


def _descriptions(document: Document) -> list[Element]:
    root = document.getElementsByTagNameNS(RDF, "RDF")[0]
    return [node for node in _elements(root) if node.namespaceURI == RDF and node.localName == "Description"]


def _elements(parent: Element) -> Iterator[Element]:
    return (node for node in list(parent.childNodes) if isinstance(node, Element))


def _matches(node: object, pattern: str) -> bool:
    prefix, _, name = pattern.partition(":")
    local = getattr(node, "localName", None) or ""
    if getattr(node, "namespaceURI", None) != NAMESPACES[prefix]:
        return False
    return local.startswith(name[:-1]) if name.endswith("*") else local == name


def _remove(document: Document, pattern: str) -> None:
    for description in _descriptions(document):
        for child in _elements(description):
            if _matches(child, pattern):
                description.removeChild(child)
        for attribute in list(description.attributes.values()):
            if _matches(attribute, pattern):
                description.removeAttributeNode(attribute)


def _has(document: Document, name: str) -> bool:
    return any(
        _matches(node, name)
        for description in _descriptions(document)
        for node in (*_elements(description), *description.attributes.values())
    )


def _field(event: Element, name: str) -> str:
    """A field of a structure, which may be written as an attribute or as an element, of it or of what it holds."""
    for holder in (event, *(child for child in _elements(event) if child.localName == "Description")):
        for node in (*holder.attributes.values(), *_elements(holder)):
            if _matches(node, name):
                return _text_of(node) if isinstance(node, Element) else str(node.nodeValue)
    return ""


def _text_of(node: Element) -> str:
    return "".join(child.data for child in node.childNodes if child.nodeType == child.TEXT_NODE)


def _new(document: Document, name: str) -> Element:
    """An element that brings its namespace along, for the packet's own prefixes may differ from ours."""
    prefix = name.partition(":")[0]
    element = document.createElementNS(NAMESPACES[prefix], name)
    element.setAttribute(f"xmlns:{prefix}", NAMESPACES[prefix])
    return element


def _home(document: Document) -> Element:
    found = _descriptions(document)
    if not found:
        made = _new(document, "rdf:Description")
        made.setAttribute("rdf:about", "")
        document.getElementsByTagNameNS(RDF, "RDF")[0].appendChild(made)
        return made
    return found[-1]


def _add(document: Document, name: str, form: str, texts: list[str]) -> None:
    element = _new(document, name)
    texts = [re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text) for text in texts]
    if form:
        holder = _new(document, f"rdf:{form}")
        for text in texts:
            item = _new(document, "rdf:li")
            if form == "Alt":
                item.setAttribute("xml:lang", "x-default")
            item.appendChild(document.createTextNode(text))
            holder.appendChild(item)
        element.appendChild(holder)
    else:
        element.appendChild(document.createTextNode(texts[0]))
    _home(document).appendChild(element)


def _add_gain_map(document: Document, size_bytes: int) -> None:
    """Ultra HDR Image Format 1.1, "Primary image XMP": a description of its own, which names its prefixes itself."""
    names = " ".join(f'xmlns:{prefix}="{NAMESPACES[prefix]}"' for prefix in ("rdf", "hdrgm", "Container", "Item"))
    items = "".join(
        f'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="{kind}" Item:Mime="image/jpeg"{length}/>'
        "</rdf:li>"
        for kind, length in (("Primary", ""), ("GainMap", f' Item:Length="{size_bytes}"'))
    )
    text = (
        f'<rdf:Description {names} rdf:about="" hdrgm:Version="1.0">'
        f"<Container:Directory><rdf:Seq>{items}</rdf:Seq></Container:Directory></rdf:Description>"
    )
    home = document.getElementsByTagNameNS(RDF, "RDF")[0]
    made = minidom.parseString(text).getElementsByTagNameNS(RDF, "Description")[0]
    home.insertBefore(document.importNode(made, True), home.firstChild)


def _add_event(document: Document, event: str, version: str) -> None:
    held = [c for found in _descriptions(document) for c in _elements(found) if _matches(c, "xmpMM:History")]
    history = held[0] if held else _new(document, "xmpMM:History")
    if not held:
        _home(document).appendChild(history)
    sequence = next(iter(_elements(history)), None)
    if sequence is None:
        sequence = history.appendChild(_new(document, "rdf:Seq"))
    item = _new(document, "rdf:li")
    item.setAttribute("rdf:parseType", "Resource")
    for name, text in (
        ("stEvt:action", "edited"),
        ("stEvt:softwareAgent", f"{AGENT} {version}"),
        ("stEvt:parameters", event),
    ):
        field = _new(document, name)
        field.appendChild(document.createTextNode(text))
        item.appendChild(field)
    sequence.appendChild(item)
