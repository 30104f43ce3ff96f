"""Which networks a picture gets, and the picture that comes out: tiles through networks, blended by strength."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from threading import Thread
from typing import Any

import numpy as np

from darkroomd._core import Canvas, TilePlan, cut, mix, plan_tiles, resize
from darkroomd.device import CPU, PROCESSOR, Network, candidates, network
from darkroomd.errors import BadResult, OutOfMemory
from darkroomd.grain import grained, with_grain
from darkroomd.job import Engine, Findings, Finish, Maps, Mode, Picture, Ramp, Region, Step, Treatment
from darkroomd.models import HOW_TO_FETCH, Card, card
from darkroomd.need import blended, needed, strengths
from darkroomd.pace import quickest_side
from darkroomd.regions import Patch, clear_faces, face_patches, line_patches
from darkroomd.scratch import by_bands, forget, giant, resized, room
from darkroomd.tone import full_range

# what a process holds besides one tile's activations: interpreter, libraries, networks (measured on 8-bit JPEGs)
RESIDENT_MB = 160
# what a giant in a scratch file has in memory while somebody walks through it: bands of it and what is made of them
GIANT_MB = 130

# a smaller picture would gain less by the best size of tiles than it takes to measure it
WORTH_MEASURING_PIXELS = 4_000_000

# From this size on, the memory of tiles goes back to the machine before the next network, the checks and the encoder
# take theirs: at 12 megapixels 110 MB less at the peak, for 0.5 % of the time, in which the kernel zeroes it for the
# next photo. A photo of 1 megapixel takes less memory anyway, and would pay 5 %.
GIVES_BACK_PIXELS = 4_000_000

# of a map's cells: the strength of the problem where it is worst, without single cells that look is wrong about
WORST_QUANTILE = 0.9
# where no place needs less than this, all get the same
WHOLE = 0.95

Where = tuple[tuple[float, tuple[Ramp, ...]], ...]


def steps_for(findings: Findings, mode: Mode, size: tuple[int, int]) -> tuple[Step, ...]:
    """The networks to run, in order, each with its reason; empty when the picture is to be left alone.

    size: the picture's width and height. Unavailable when a network of the mode has no card.
    """
    if mode.strength == 0:
        return ()
    known = {treatment.network: card(treatment.network) for treatment in mode.treatments}
    there = _there(findings)
    factor = enlargement(mode, size)
    enlarging = _next_up([card for card in known.values() if card.scale > 1], factor)
    steps = []
    for treatment in mode.treatments:
        everywhere: Where = ((1.0, treatment.where),) if treatment.where else ()
        chosen: tuple[str, float, Where] | None = (f"mode {mode.name}", 1.0, everywhere)
        if mode.choose or treatment.when:
            chosen = _chosen(treatment, findings, factor)
        if chosen is None:
            continue
        network_card, large = known[treatment.network], None
        region, (why, share, where) = treatment.region, chosen
        if region in ("faces", "text"):
            if region not in there:
                continue
            why = f"{there[region]}, {why}" if mode.choose else there[region]
        elif region == "background" and not mode.regions & there.keys():
            region = "all"
        if network_card.scale > 1:
            if network_card != enlarging:
                continue
            large = _times(size, min(factor, network_card.scale))
            why = f"{min(factor, network_card.scale):.3g} times as large, to {large[0]}×{large[1]}"
            if factor > network_card.scale:
                why += f" (no network reaches {factor:.3g} times)"
        strength = mode.strength * treatment.strength * share
        step = Step(network_card.name, network_card.digest, region, strength, why, large)
        if region in ("all", "background") and large is None and findings.maps is not None:
            local = _local(step, where, findings.maps)
            if local is None:
                continue
            step = local
        steps.append(step)
    asked: dict[Finish, bool] = {"grain": mode.grain == "keep", "tone": mode.tone == "restore"}
    finish = tuple(name for name, wanted in asked.items() if wanted)
    return (*steps[:-1], replace(steps[-1], finish=finish)) if steps else ()


def _local(step: Step, where: Where, maps: Maps) -> Step | None:
    """The step with its places, and the share of the picture that they are; None when it is needed nowhere."""
    if not where:
        return step
    cells = strengths(where, maps)
    percent = round(100 * float((cells > 0).mean()))
    if percent == 0:
        return None
    if percent == 100 and cells.min() >= WHOLE:
        return step
    reason = f"{step.reason}, in {percent} % of the picture" if percent < 100 else step.reason
    return replace(step, where=where, percent=percent, reason=reason)


def _there(findings: Findings) -> dict[Region, str]:
    """The regions that were found, each with its reason."""
    there: dict[Region, str] = {}
    if count := len(clear_faces(findings.faces)):
        there["faces"] = f"{count} face{'s' * (count != 1)}"
    if count := len(findings.text or ()):
        there["text"] = f"{count} line{'s' * (count != 1)} of text"
    return there


def missing(findings: Findings, mode: Mode) -> tuple[str, ...]:
    """What the mode is for and the picture has not, in words for the verdict. Never silent: a person chose the mode."""
    if mode.choose:
        return ()
    said = []
    for region, found, what in (("faces", findings.faces, "face"), ("text", findings.text, "text")):
        if region not in mode.regions:
            continue
        if region in _there(findings):
            said += _left(region, findings, mode)
        elif found is None:
            said.append(f"no {what} was looked for: the detector is not here; `{HOW_TO_FETCH}` gets it")
        elif found:
            said.append(f"the {what}s are too small to be restored")
        else:
            said.append(f"no {what} was found")
    return tuple(said)


def _left(region: Region, findings: Findings, mode: Mode) -> list[str]:
    """Why what was found is left as it is, where a line of the mode's table says so by a strength of 0."""
    facts = _facts(findings, 1.0)
    treatments = [treatment for treatment in mode.treatments if treatment.region == region]
    if any(_chosen(treatment, findings, 1.0) for treatment in treatments):
        return []
    return [line.because.format(**facts) for one in treatments for line in one.when if line.holds(facts)]


def enlargement(mode: Mode, size: tuple[int, int]) -> float:
    """How many times as wide the mode wants a picture of this size; 1 when it keeps the size, or has it already."""
    if mode.scale is None:
        return 1.0
    factor = mode.scale
    if mode.longest_side is not None:
        factor = mode.longest_side / max(size)
    elif mode.megapixels is not None:
        factor = math.sqrt(mode.megapixels * 1e6 / (size[0] * size[1]))
    return max(factor, 1.0)


def _next_up(enlarging: list[Card], factor: float) -> Card | None:
    """The network with the smallest factor that reaches this one, else the one with the largest; None for no change."""
    if factor <= 1:
        return None
    ascending = sorted(enlarging, key=lambda card: card.scale)
    return next((card for card in ascending if card.scale >= factor), ascending[-1] if ascending else None)


def _times(size: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _chosen(treatment: Treatment, findings: Findings, enlargement: float) -> tuple[str, float, Where] | None:
    """Why a treatment is done that needs a reason, at what share of its strength and where; None when it is not."""
    if not treatment.when:
        return "always", 1.0, ((1.0, treatment.where),) if treatment.where else ()
    found = _facts(findings, enlargement)
    held = [line for line in treatment.when if line.holds(found)]
    most = max((line.strength for line in held), default=0.0)
    if most == 0:
        return None
    reasons = dict.fromkeys(line.because.format(**found) for line in held if line.strength > 0)
    where = tuple((line.strength / most, (*treatment.where, *line.where)) for line in held)
    return ", ".join(reasons), most, where if any(ramps for _, ramps in where) else ()


def _facts(findings: Findings, enlargement: float) -> dict[str, Any]:
    """What the lines of a mode's table are held against: what is known, by the names of the JSON's `found`."""
    counts = {"faces": len(clear_faces(findings.faces)), "text": len(findings.text or ())}
    found = (
        {"motion": 0.0, "grain": 0.0, "enlargement": enlargement}
        | {k: v for k, v in findings.facts().items() if v is not None}
        | counts
    )
    if findings.visible_quality is not None and findings.visible_quality != findings.jpeg_quality:
        found["earlier_quality"] = findings.visible_quality
    if findings.maps is not None:
        found["worst_noise"] = float(np.quantile(findings.maps.noise, WORST_QUANTILE))
    return found


def enhanced(picture: Picture, steps: tuple[Step, ...], engine: Engine, findings: Findings | None = None) -> Picture:
    """The picture after `steps`; its input is left as it was. findings: with the faces and lines that steps are for.

    A region's network sees the picture as the last step over all of it left it, not what the background's has made of
    it, and its answer is laid over the result.

    OutOfMemory when even the smallest tiles do not fit, BadResult when a network answers with something that is
    not a number. Alpha passes through, and grows with its colours.
    """
    result = picture
    with ThreadPoolExecutor(1) as beside:  # while a step computes, the next one's session is opened
        opened = [beside.submit(network, step.model, engine) for step in steps]
        for step, net in zip(steps, opened, strict=True):
            picture, result = _stepped(step, net.result(), picture, result, engine, findings)
    for finish in steps[-1].finish:
        if finish == "grain" and findings is not None:
            cells, with_it = _touched(steps, findings), grained(result.pixels, findings.noise_sigma)
            result = result.with_pixels(with_it if cells is None else blended(result.pixels, with_it, cells))
        elif finish == "tone":
            result = result.with_pixels(full_range(result.pixels))
    return result


def _touched(steps: tuple[Step, ...], findings: Findings) -> Any:
    """How much of the steps each place has had, as cells of `need`; None where all of the picture has had all."""
    whole = [step for step in steps if step.region in ("all", "background")]
    if findings.maps is None or any(step.size is not None or not step.where for step in whole):
        return None
    nowhere = np.zeros(findings.maps.noise.shape, np.float32)
    return np.maximum.reduce([nowhere, *(strengths(step.where, findings.maps) for step in whole)])


def _stepped(
    step: Step, net: Network, picture: Picture, result: Picture, engine: Engine, findings: Findings | None
) -> tuple[Picture, Picture]:
    """What the next step's network sees, and what its answer is laid over."""
    if step.region in ("faces", "text"):
        patches = _patches(step.region, picture, findings)
        return picture, result.with_pixels(
            _laid_over(picture.pixels, result.pixels, patches, net, step.strength, engine)
        )
    cells = strengths(step.where, findings.maps) if step.where and findings and findings.maps else None
    restored = through(net, picture.pixels, engine, cells)
    if step.size is not None:
        result = _enlarged(picture, restored, step.strength, step.size)
    elif cells is not None:
        pixels = blended(picture.pixels, restored, step.strength * cells)
        result = picture.with_pixels(pixels)
    elif step.strength == 1:
        result = picture.with_pixels(restored)
    else:
        result = picture.with_pixels(by_bands(partial(_mixed, step.strength), picture.pixels, restored))
    return result if step.region == "all" else picture, result


def _patches(region: Region, picture: Picture, findings: Findings | None) -> list[Patch]:
    if findings is None:
        return []
    if region == "faces":
        return face_patches(findings.faces or (), picture.width, picture.height)
    return line_patches(findings.text or (), picture.width, picture.height)


def _laid_over(before: Any, now: Any, patches: list[Patch], net: Network, strength: float, engine: Engine) -> Any:
    """`now` with the network's answers for parts of `before` over it."""
    result = by_bands(np.copy, now)
    for patch in patches:
        box = patch.box
        rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
        original, beneath = (np.ascontiguousarray(pixels[rows, columns]) for pixels in (before, result))
        answer = _answer(original, beneath, patch, net, engine)
        answer = with_grain(original, beneath, answer, patch.mask)
        if strength != 1:
            answer = mix(original, answer, strength)
        result[rows, columns] = mix(beneath, answer, patch.mask)
        forget(before, result)
    return result


def _answer(original: Any, beneath: Any, patch: Patch, net: Network, engine: Engine) -> Any:
    """The network's answer for a patch, at the patch's own size.

    At another size the network restores what is coarser than its pixels; what is finer stays as it lies beneath.
    """
    upright = np.ascontiguousarray(np.rot90(original, patch.turns))
    if patch.factor == 1:
        return np.ascontiguousarray(np.rot90(through(net, upright, engine), -patch.turns))
    height, width = upright.shape[:2]
    size = max(1, round(width * patch.factor)), max(1, round(height * patch.factor))
    answer = through(net, resize(upright, *size), engine)
    host = np.ascontiguousarray(np.rot90(beneath, patch.turns))
    full = np.float32(255 if host.dtype == np.uint8 else 65535)
    # a resized float picture is clipped to 0..1: the correction, -1..1, is moved there
    correction = 0.5 + (answer.astype(np.float32) - resize(host, *size).astype(np.float32)) / (2 * full)
    restored = host + (2 * resize(correction, width, height) - 1) * full
    return np.ascontiguousarray(np.rot90(np.rint(restored.clip(0, full)).astype(host.dtype), -patch.turns))


def _mixed(strength: float, a: Any, b: Any) -> Any:
    return mix(a, b, strength)


def _enlarged(picture: Picture, large: Any, strength: float, size: tuple[int, int]) -> Picture:
    """At exactly `size`, from the network's answer at its own factor; what strength leaves is the picture resized."""
    if (large.shape[1], large.shape[0]) != size:
        large = resized(large, *size)
    if strength != 1:
        large = by_bands(partial(_mixed, strength), resized(picture.pixels, *size), large)
    return picture.enlarged(large, None if picture.alpha is None else resized(picture.alpha, *size))


def at_size_of(picture: Picture, result: Picture) -> Picture:
    """The result as large as the picture it was made from: what they have in common can be compared."""
    if (result.width, result.height) == (picture.width, picture.height):
        return result
    return result.with_pixels(resized(result.pixels, picture.width, picture.height))


@contextmanager
def opening(mode: Mode, engine: Engine) -> Iterator[None]:
    """Opens the session of the network that a picture needs first in this mode, beside its decoding.

    ONNX Runtime on the processor only: while a photo is decoded this process has a limit to its memory. The driver of a
    graphics card asks for far more than it uses, a device that could not be opened then would not be used afterwards,
    and OpenVINO can end the process when it finds no memory.
    What is wrong with the network is told when it is used.
    """

    def open_it() -> None:
        with suppress(Exception):
            if candidates(engine.device, engine.worker) == (CPU,) and (name := needed_first(mode)):
                network(name, engine)

    thread = Thread(target=open_it)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def needed_first(mode: Mode) -> str | None:
    """The network of a mode's first step that needs no reason, or is what the mode is for, as far as it can be told
    without the picture, else None.

    Of several that enlarge, the size of the picture decides, unless the mode says how many times.
    """
    if mode.strength == 0:
        return None
    sure = [treatment for treatment in mode.treatments if not treatment.when]
    sure = sure or [treatment for treatment in mode.treatments if treatment.region == "text" and not mode.choose]
    first = card((sure or mode.treatments)[0].network)
    if first.scale == 1:
        return first.name
    if mode.scale is None or mode.longest_side is not None or mode.megapixels is not None:
        return None
    enlarging = _next_up([one for name in mode.networks if (one := card(name)).scale > 1], mode.scale)
    return enlarging.name if enlarging else None


def device_of(steps: tuple[Step, ...], engine: Engine) -> str:
    """What computes these steps, such as cpu or cuda:0."""
    return str(network(steps[0].model, engine).device)


def through(net: Network, pixels: Any, engine: Engine, cells: Any = None) -> Any:
    """The network's answer for a whole picture, (height, width, 1 or 3) of any of the core's types; same type out.

    cells: strengths as of `need`; a tile that is 0 everywhere is not run, and is the picture itself in the answer.
    """
    height, width = pixels.shape[:2]
    plan: TilePlan | None = tile_plan(net.card, width, height, engine, _longest_side(net, width, height, engine), cells)
    while plan is not None:
        try:
            return _assembled(net, pixels, plan, tiles_to_run(net.card, plan, cells))
        except OutOfMemory as error:
            shortage = str(error)  # the error itself would hold the tile that did not fit
            plan = plan.smaller()  # from the start: a plan is never patched half-way
            if plan is not None:  # the next picture would meet the same shortage
                net.longest_side = max(plan.tile_width, plan.tile_height)
    raise OutOfMemory(shortage)


def _longest_side(net: Network, width: int, height: int, engine: Engine) -> int | None:
    if width * height < WORTH_MEASURING_PIXELS or net.device not in PROCESSOR:
        return net.longest_side
    return quickest_side(net, min(_tile_side(net.card, engine), net.longest_side or net.card.tile))


def tiles_to_run(card: Card, plan: TilePlan, cells: Any) -> list[bool]:
    """Of each tile, whether any of its pixels, or of those that fade into its neighbours, needs the network."""
    if cells is None:
        return [True] * len(plan)
    cores = (plan.core(index) for index in range(len(plan)))
    fade = card.blend
    return [needed(cells, x - fade, y - fade, w + 2 * fade, h + 2 * fade) for x, y, w, h in cores]


def _assembled(net: Network, pixels: Any, plan: TilePlan, run: list[bool]) -> Any:
    """While the network computes a tile, another thread blends the one before and cuts the one after.

    What need not run is put back as it was cut. Two buffers for tiles and two for answers, taken once: what runs beside
    never touches those in use.
    """
    scale, count, large = net.card.scale, len(plan), plan.width * plan.height >= GIVES_BACK_PIXELS
    canvas = Canvas(plan, pixels.shape[2], pixels.dtype.name, scale)
    out = room((plan.height * scale, plan.width * scale, pixels.shape[2]), pixels.dtype)
    tiles = [np.empty((1, 3, plan.tile_height, plan.tile_width), np.float32) for _ in range(min(count, 2))]
    answers = [np.empty((1, 3, plan.tile_height * scale, plan.tile_width * scale), np.float32) for _ in tiles]
    last = max((index for index in range(count) if run[index]), default=None) if large else None
    done = 0

    def add(index: int, answer: Any) -> None:
        nonlocal done
        try:
            canvas.add(index, answer)
        except ValueError as error:
            raise BadResult(f"network {net.card.name}: {error}") from error
        if ready := canvas.rows_ready():
            out[done : done + ready] = canvas.take()
            done += ready
            forget(pixels, out)

    with ThreadPoolExecutor(1) as beside:
        cutting, adding = beside.submit(cut, pixels, plan, 0, tiles[0]), None
        for index in range(count):
            cutting.result()
            if index + 1 < count:
                cutting = beside.submit(cut, pixels, plan, index + 1, tiles[(index + 1) % 2])
            answer = tiles[index % 2]
            if run[index]:
                answer = net.run(answer, answers[index % 2], last=index == last)
            if adding is not None:
                adding.result()
            adding = beside.submit(add, index, answer)
        if adding is not None:
            adding.result()
    return out


def tile_plan(
    card: Card, width: int, height: int, engine: Engine, longest_side: int | None = None, cells: Any = None
) -> TilePlan:
    """How a picture of this size is cut: the card's tile, or a smaller one where the memory limit asks for it.

    longest_side: of the tiles that there was room for, when larger ones have failed. cells: as of `through`; where less
    is computed so, the tiles are half as large, and more of them can be left out.
    """
    side = min(_tile_side(card, engine), longest_side or card.tile)
    sides = [side] if cells is None else [side, max(_least_side(card), side // 2)]
    plans = [plan_tiles(width, height, side, card.halo, card.blend, card.multiple_of) for side in sides]
    return min(plans, key=lambda plan: pixels_to_run(card, plan, cells))


def pixels_to_run(card: Card, plan: TilePlan, cells: Any) -> int:
    """Pixels of the tiles that a network computes, their margins included."""
    return sum(tiles_to_run(card, plan, cells)) * plan.tile_width * plan.tile_height


def _tile_side(card: Card, engine: Engine) -> int:
    if not engine.memory_limit_mb:
        return card.tile
    room_mb = max(0, engine.memory_limit_mb - RESIDENT_MB)
    side = math.isqrt(int(room_mb * 1e6 / card.memory_bytes_per_pixel))
    return max(_least_side(card), min(card.tile, side))


def _least_side(card: Card) -> int:
    return 4 * (card.halo + card.blend)


def megapixels_to_run(step: Step, net: Network, picture: Picture, findings: Findings, engine: Engine) -> float:
    """What the step's network will compute, margins included, in tiles of the size that it will really take."""
    sizes = sizes_to_run(step, picture, findings)
    cells = strengths(step.where, findings.maps) if step.where and findings.maps else None
    plans = (tile_plan(net.card, *size, engine, _longest_side(net, *size, engine), cells) for size in sizes)
    return sum(pixels_to_run(net.card, plan, cells) for plan in plans) / 1e6


def peak_memory_mb(card: Card, width: int, height: int, engine: Engine, bytes_per_pixel: int) -> float:
    """What `enhanced` will need at most with one network: a tile's activations, the picture before and after."""
    return RESIDENT_MB + tile_mb(card, width, height, engine) + pictures_mb(width, height, bytes_per_pixel, card.scale)


def tile_mb(card: Card, width: int, height: int, engine: Engine) -> float:
    """A network's activations for the tiles of a picture of this size."""
    plan = tile_plan(card, width, height, engine)
    return plan.tile_width * plan.tile_height * card.memory_bytes_per_pixel / 1e6


def pictures_mb(width: int, height: int, bytes_per_pixel: int, scale: int) -> float:
    """The picture before and after, as far as they lie in memory."""
    sizes = [width * height * bytes_per_pixel, scale**2 * width * height * bytes_per_pixel]
    return sum(GIANT_MB if giant(size) else size / 1e6 for size in sizes)


def sizes_to_run(step: Step, picture: Picture, findings: Findings) -> list[tuple[int, int]]:
    """Width and height of each part that the step's network will be shown."""
    if step.region not in ("faces", "text"):
        return [(picture.width, picture.height)]
    patches = _patches(step.region, picture, findings)
    return [(max(1, round(p.box.width * p.factor)), max(1, round(p.box.height * p.factor))) for p in patches]
