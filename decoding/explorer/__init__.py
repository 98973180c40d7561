"""A folder with a page to click through: a network, its layers, and each unit with all that is known about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import datasets, fast
from ..arguments import Array, as_choice, as_count, as_sequence, described
from ..boundary import public
from ..decoder import UNPOOLS, decode_layer, unit
from ..errors import InvalidValueError, UnsupportedLayerError
from ..gains import linearize
from ..measuring import Images, Progress, batches, measure
from ..network import Network, as_network
from ..secondorder import quadratize
from .meters import BestMeter, FollowMeter, SecondMeter
from .model import Survey, boxes_of, check_weights, survey
from .second import Asked, write_second
from .sheets import draw, one_or_three, rounded, sheet, shrunk
from .shown import Shown
from .weights import Links, factor, links
from .writing import check_page, replacing_folder, write_data

DIGITS = 2000  # how many of the bundled digits bundled networks are shown with
TOGETHER = 2**28  # bytes of the decoded filters that are measured in one pass
CALIBRATED = 500  # the second order is calibrated on so many images, and its r measured on as many others
STRIP, SMALL = 12, 32  # how many units of a layer the view of the network shows, and their largest side in pixels


@public
def explore(
    net: Network,
    folder: Any,
    *,
    images: Images | None = None,
    labels: Sequence[Any] | None = None,
    layers: Sequence[int | str] | None = None,
    units: int | None = None,
    unpool: str = "nearest",
    second_order: bool | Mapping[int | str, Sequence[int]] | None = None,
    title: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a page to click through: the network, its layers, and each unit with what it is made of.

    Open ``index.html`` of the folder in a browser. The page needs no server, and loads nothing from elsewhere.

    Parameters
    ----------
    net : Network
    folder : path
        The folder to write. If it holds an older page of this kind, that is replaced when the new one is complete.
    images : array_like of shape (N, C, H, W), or an iterable of such batches, optional
        As `Network.forward` takes them; they are held in memory. With them the page says how far each decoded filter follows
        the network, and shows patterns and the images that drive a unit most and least. Networks that come with the package
        are shown with 2,000 of the bundled digits, unless images are given.
    labels : sequence of N, optional
        What each image shows: texts, or numbers of the network's classes.
    layers : sequence of int or str, optional
        The layers whose units are shown; all unless given. The other layers are drawn too, without units.
    units : int, optional
        How many units of each layer are shown, counted from the first; unless given, as many as can be decoded within minutes.
    unpool : {"nearest", "bilinear", "bicubic", "sum"}
        The interpolation that undoes pooling.
    second_order : bool or mapping, optional
        The units whose second order is shown: all (True), none, or for some layers the numbers of units. It takes about a second
        for each; unless given, it is shown only for networks that come with the package.
    title : str, optional
        What the page calls the network.
    progress : callable, optional
        Called as ``progress(done, total)``, in layers.

    Raises
    ------
    InvalidValueError
        If weights or images are not finite, or `folder` holds anything but such a page.
    ShapeError
        If the numbers of labels and images differ, or the images do not fit the network.
    UnknownLayerError
        If there is no such layer or unit.
    OSError
        If the folder cannot be written.

    See Also
    --------
    decode_layer, patterns, top_images, contributions, decode_quadratic : What the page shows, one at a time.

    Notes
    -----
    Our choice; not in the paper. Layers that pass each unit on by itself, such as rectifiers, show the pictures of the layer
    below. r is Pearson's correlation of a unit's responses with those of its decoded filter, over the images and all places.

    Examples
    --------
    >>> import tempfile
    >>> from decoding import Conv
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     explore(Network([Conv([[[[1, 2]]]])]), f"{folder}/page")
    """
    as_network(net, "explore")
    as_choice(unpool, UNPOOLS, "unpool")
    if units is not None:
        as_count(units, "explore: units")
    target, bundled = check_page(folder), _bundled(net)
    check_weights(net)
    if images is None and bundled:
        digits, numbers = datasets.mnist()
        images = net.normalize(digits[:DIGITS])
        labels = numbers[:DIGITS].tolist() if labels is None else labels
    shown = Shown(net, [] if images is None else _held(net, images), labels)
    variants = _variants(net, shown.batches)
    found = survey(variants["filter"], layers, units, len(variants) + bool(shown))
    asked = _second_order(net, found, second_order, bundled)
    quadratic = _quadratized(net, shown.some(0, _half(shown))) if asked else None
    with replacing_folder(target) as place:
        page = _Page(place, found, variants, shown, unpool, progress)
        page.write(quadratic, asked, title or bundled or "network")


def _half(shown: Shown) -> int:
    """How many images the second order is calibrated on; its r is measured on as many others."""
    return min(CALIBRATED, shown.count // 2)


def _bundled(net: Network) -> str | None:
    """The name of the network, if it is one that comes with the package."""
    for name, other in (("LeNet", datasets.lenet), ("ResNet", datasets.resnet)):
        if len(net) == len(known := other()) and net == known:
            return name
    return None


def _held(net: Network, images: Images) -> list[Array]:
    """All batches of the images, kept in memory since they are used several times."""
    given, _ = batches(images, net)
    found = [net.as_images(batch, "explore") for batch in given]
    if not sum(map(len, found)):
        raise InvalidValueError("explore: there are no images.")
    return [batch for batch in found if len(batch)]


def _variants(net: Network, images: list[Array]) -> dict[str, Network]:
    """The network without gains; and with gains, if it has some or they can be found."""
    if any(_takes_gain(layer) and layer.gain is not None for layer in net.layers):
        return {"filter": _without_gains(net), "gains": net}
    try:
        found = linearize(net, iter(images) if images else None, backend=fast)
    except (UnsupportedLayerError, InvalidValueError):
        return {"filter": net}
    return {"filter": _without_gains(found), "gains": found}


def _without_gains(net: Network) -> Network:
    """The network without gains, except for layers that cannot be decoded without one."""
    kept = (not _takes_gain(layer) or layer.needs_gain for layer in net.layers)
    return net.replace(
        layers=[layer if keep else layer.replace(gain=None) for layer, keep in zip(net.layers, kept, strict=True)]
    )


def _takes_gain(layer: Any) -> bool:
    return "gain" in layer.fields()


def _second_order(net: Network, found: Survey, given: Any, bundled: str | None) -> Asked:
    """For each layer, the units whose second order is shown."""
    if given is None:
        given = bundled is not None
    if isinstance(given, bool):
        return {number: list(range(count)) for number, count in found.units.items()} if given else {}
    if not isinstance(given, Mapping):
        raise InvalidValueError(
            f"explore: second_order must be True, False or {{layer: units}}, not {described(given)}."
        )
    asked: Asked = {}
    for layer, ks in given.items():
        number, several = net.index(layer), as_sequence(ks, "explore: second_order", "numbers of units")
        asked[number] = [unit(net, number, k, "explore") for k in several]
        missing = [k for k in asked[number] if k >= found.units.get(number, 0)]
        if missing:
            raise InvalidValueError(
                f"explore: unit {missing[0]} of layer {number}, for second_order, is not on the page."
            )
    return asked


class _Page:
    """Writes the files of data of the page, layer by layer."""

    def __init__(
        self, place: Path, found: Survey, variants: dict[str, Network], shown: Shown, unpool: str, progress: Any
    ) -> None:
        self.place, self.found, self.variants, self.shown, self.unpool = place, found, variants, shown, unpool
        self.progress, self.done, self.total = progress, 0, len(found.units)
        self.net, self.last = found.net, list(variants)[-1]
        self.facts: dict[int, dict[str, Any]] = {}
        self.strips: dict[int, Any] = {}
        self.same: set[int] = set()  # layers whose filters look the same with gains as without

    def write(self, quadratic: Network | None, asked: Asked, title: str) -> None:
        self.total += sum(map(len, asked.values()))
        for group in self._groups():
            self._measured(group)
        if quadratic is not None:
            self._second_r(quadratic)
            write_second(self.place, quadratic, asked, self.shown, self._step)
        linked = links(self.variants[self.last], self.found.units)
        for number in self.found.units:
            self._write_layer(number, linked, asked)
        self.shown.write(self.place)
        write_data(self.place, "network", self._overview(title))

    def _step(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)

    def _groups(self) -> Iterator[list[int]]:
        """Groups of layers with pictures of their own, so small that their filters fit in memory together."""
        group, held = list[int](), 0
        for number in self.found.bases:
            pixels = int(np.prod(self.net.receptive_field(number).size)) * self.net.channels(0)
            size = 4 * self.found.units[number] * pixels * (3 if self.shown else 1)
            if group and (held + size > TOGETHER or not self.shown):
                yield group
                group, held = [], 0
            group.append(number)
            held += size
        if group:
            yield group

    def _measured(self, group: list[int]) -> None:
        """Decode these layers, measure them on the images, and write their pictures."""
        banks = {number: self._decoded(number) for number in group}
        follow, best = dict[int, FollowMeter](), dict[int, BestMeter]()
        if self.shown:
            for number in group:
                members = self.found.members(number)
                follow[number] = FollowMeter(self.net, members, banks[number])
                best |= {member: BestMeter(member, self.found.units[member]) for member in members}
            measure(self.net, iter(self.shown.batches), [*follow.values(), *best.values()], backend=fast)
        for number in group:
            peaks, norms = self._pictures(number, banks[number], follow.get(number))
            for member in self.found.members(number):
                self.facts[member] = {"peaks": peaks} | self._facts(member, norms)
                if number in follow:
                    self.facts[member] |= self._followed(member, follow[number])
                    self.facts[member]["images"] = self.shown.chosen(best[member], self.net.receptive_field(member))
                self._step()

    def _decoded(self, number: int) -> dict[str, Array]:
        """The filters of a layer, without and with gains."""
        units = range(self.found.units[number])
        return {
            kind: decode_layer(net, number, units=units, unpool=self.unpool, backend=fast)
            for kind, net in self.variants.items()
        }

    def _pictures(self, number: int, banks: dict[str, Array], follow: FollowMeter | None) -> tuple[Any, Any]:
        """Write the sheets of a layer; returns the largest magnitude of each picture, and the norm of each filter."""
        maps = {kind: self.net.per_pixel(bank) if _per_channel(self.net) else bank for kind, bank in banks.items()}
        norms = {kind: np.sqrt(np.square(bank, dtype=np.float64).sum(axis=(1, 2, 3))) for kind, bank in maps.items()}
        self.strips[number] = _strip(maps[self.last], norms[self.last])
        if follow is not None:
            maps["pattern"] = follow.pattern * self.net.std if _per_channel(self.net) else follow.pattern
        drawn = {kind: draw(shrunk(one_or_three(bank), self.found.side)) for kind, bank in maps.items()}
        if "gains" in drawn and (drawn["gains"].bytes == drawn["filter"].bytes).all():
            self.same.add(number)
        for kind, pictures in drawn.items():
            if kind != "gains" or number not in self.same:
                write_data(self.place, f"{number}-{kind}", sheet(pictures.bytes))
        return {kind: rounded(pictures.peaks) for kind, pictures in drawn.items()}, norms

    def _facts(self, member: int, norms: dict[str, Array]) -> dict[str, Any]:
        """For each unit of a layer: the factor to the unit whose picture it shows, and the norm of its filter."""
        scales = {kind: self._factor(net, member) for kind, net in self.variants.items()}
        return {
            "factors": {kind: rounded(scale) for kind, scale in scales.items()},
            "strength": {kind: rounded(norms[kind] * np.abs(scale)) for kind, scale in scales.items()},
        }

    def _factor(self, net: Network, member: int) -> Any:
        """The factors from a layer's units to the units whose pictures they show."""
        scale, number = np.ones(net.channels(member)), member
        while number != self.found.base[member]:
            scale = scale * factor(net.layers[number - 1], net.channels(number))
            number = net.paths[number - 1][0]
        return scale[: self.found.units[member]]

    def _followed(self, member: int, follow: FollowMeter) -> dict[str, Any]:
        signs = {kind: np.where(self._factor(net, member) < 0, -1, 1) for kind, net in self.variants.items()}
        rs = {kind: rounded(follow.follows[kind, member].r * sign) for kind, sign in signs.items()}
        return {"r": rs, "measured": follow.images}

    def _second_r(self, quadratic: Network) -> None:
        """Measure how well the second order follows the network, on other images than it was calibrated on."""
        half = _half(self.shown)
        if not half:
            return
        meter = SecondMeter(quadratic, self.found.units, fast)
        measure(self.net, iter(self.shown.some(half, 2 * half)), [meter], backend=fast)
        for number, follow in meter.follows.items():
            self.facts[number]["r"]["second"] = rounded(follow.r)

    def _write_layer(self, number: int, linked: Links, asked: Asked) -> None:
        facts = self.facts[number] | {"made": linked.made[number], "used": linked.used[number]}
        if number in linked.parts:
            facts["parts"] = linked.parts[number]
        if number in asked:
            facts["second"] = asked[number]
        write_data(self.place, f"{number}", facts)

    def _overview(self, title: str) -> dict[str, Any]:
        boxes = boxes_of(self.found)
        for number, facts in self.facts.items():
            boxes[number]["r"] = {kind: _mean(values) for kind, values in facts.get("r", {}).items()}
            boxes[number]["same"] = self.found.base[number] in self.same
        for number, strip in self.strips.items():
            boxes[number]["strip"] = strip
        return {
            "layers": boxes,
            "title": title,
            "kinds": list(self.variants),
            "classes": list(self.net.classes or ()),
            "notes": list(self.net.notes),
            "images": self.shown.summary(),
            "summed": self.net.widths([0])[0] not in (1, 3),
        }


def _per_channel(net: Network) -> bool:
    return net.std is not None and net.std.shape[1:] == (1, 1)


def _quadratized(net: Network, images: list[Array]) -> Network:
    """The network with curvatures: its own if it has any, else those that `quadratize` finds."""
    if any("curvature" in layer.fields() and layer.curvature is not None for layer in net.layers):
        return net
    return quadratize(net, iter(images) if images else None, backend=fast)


def _strip(maps: Array, norms: Array) -> dict[str, Any]:
    """Small pictures of a layer's strongest units, for the view of the network."""
    chosen = np.argsort(-norms, kind="stable")[:STRIP]
    return {"units": chosen.tolist(), "sheet": sheet(draw(shrunk(one_or_three(maps[chosen]), SMALL)).bytes)}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None
