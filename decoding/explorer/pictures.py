"""The pictures of a folder as a network takes them, labelled with the names of their folders or files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arguments import Array
from ..datasets import images_in
from ..errors import DataFormatError
from ..files import as_path, shown
from ..network import Network


def read_pictures(net: Network, folder: Any) -> tuple[list[Array], list[str]]:
    """Read pictures as normalized images, each a batch of its own; and their labels.

    If the folder holds folders, their names are the labels; otherwise each picture is labelled with its own name. Pictures of
    another size than the network was made for are scaled until they cover that size, and their middle is cut out.

    Raises
    ------
    DataFormatError
        If there are no pictures, or one cannot be read.
    FileNotFoundError
        If there is no such folder.
    """
    place = as_path(folder, "images")
    size = None if net.input_shape is None else net.input_shape[1:]
    folders = [path for path in sorted(place.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    found, labels = list[Array](), list[str]()
    for one in folders or [place]:
        try:
            given = images_in(one, size=size, mode="L" if net.channels(0) == 1 else "RGB", skip=True)
        except DataFormatError:
            if folders:  # a folder without pictures
                continue
            raise
        found.extend(prepared(net, picture) for picture in given)
        labels.extend(one.name if folders else path.stem for path in given.paths)
    if not found:
        raise DataFormatError(f"'{shown(folder)}' and its folders hold no PNG, JPEG or TIFF file.")
    return found, labels


def prepared(net: Network, picture: Array) -> Array:
    """One picture, (1, C, H, W), 0 to 255, normalized; first scaled to 0 to 1 if the network's deviation is below 1."""
    small = net.std is not None and float(net.std.max()) < 1  # trained on pixels from 0 to 1
    normalized: Array = net.normalize(picture.astype(np.float32) / np.float32(255 if small else 1))
    return normalized
