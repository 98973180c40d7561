"""Section 2: other ways to invert a convolution
=============================================

It prints how much of an image is missing after a convolution has been inverted, for each of the ways that the paper mentions.
Substitution gives back a blurred image. Division in the Fourier domain and least squares do better if no response is missing, and worse
if the border is cut off. A second table says when the linear system has a solution.

The filters are LeNet's first twenty, one by one and as a bank, a narrow Gaussian, a box and a Sobel filter. The image is the middle
of a test digit, 14×14 pixels, so that the matrix of the linear system stays small.

::

    python examples/section2.py [-o folder]
"""

import argparse
from pathlib import Path

import numpy as np

import decoding
from decoding import inverse
from decoding.files import check_folder
from decoding.terminal import run
from panels import as_csv, progress, save_text

NOISE = 0.01  # standard deviation of the noise added to the responses, as a share of theirs
METHODS = ("substitution", "turned", "fourier", "wiener", "least squares")


def filters():
    """The filters, by name, each as a list of banks."""
    learned = decoding.lenet().layers[0].filters.astype(float)
    u = np.arange(5) - 2
    gaussian = np.exp(-(u**2) / (2 * 0.6**2))
    return {
        "LeNet, one filter (median of 20)": [learned[[k]] for k in range(len(learned))],
        "LeNet, all 20": [learned],
        "narrow Gaussian 5×5": [np.outer(gaussian, gaussian)[np.newaxis, np.newaxis] / gaussian.sum() ** 2],
        "box 5×5": [np.full((1, 1, 5, 5), 1 / 25)],
        "Sobel 3×3": [np.array([[[[1, 0, -1], [2, 0, -2], [1, 0, -1]]]])],
    }


def invert(method, responses, bank, border, noise):
    if method == "substitution":
        return inverse.adjoint(responses, bank, border=border)
    if method == "turned":
        return inverse.turned(responses, bank, border=border)
    if method == "fourier":
        return inverse.fourier(responses, bank, border=border)
    if method == "wiener":
        return inverse.wiener(responses, bank, border=border, noise=max(noise, 1e-12))
    return inverse.linear_system(responses[0], bank, border=border).image[np.newaxis]


def error(method, bank, image, border, noisy):
    """How much of the image is missing after its responses were inverted."""
    responses = inverse.respond(image, bank, border=border)
    deviation = NOISE * responses.std() if noisy else 0.0
    responses = responses + deviation * np.random.default_rng(0).standard_normal(responses.shape)
    return inverse.recovery_error(invert(method, responses, bank, border, (deviation / image.std()) ** 2), image)


def recovery(image):
    rows, show = [], progress("recovery", "rows")
    every = filters()
    for name, banks in every.items():
        for border in inverse.BORDERS:
            for noisy in (False, True):
                errors = [
                    np.median([error(method, bank, image, border, noisy) for bank in banks]) for method in METHODS
                ]
                rows.append([name, border, f"{NOISE:.0%}" if noisy else "none", *errors])
                show(len(rows), len(every) * 6)
    return rows


def ranks(image):
    """The rows of the second table: the ranks of A and [A b], with and without noise in the responses."""
    rows = []
    for name, banks in filters().items():
        bank = banks[0]
        for border in inverse.BORDERS:
            responses = inverse.respond(image, bank, border=border)[0]
            noise = NOISE * responses.std() * np.random.default_rng(0).standard_normal(responses.shape)
            exact, noisy = (inverse.linear_system(b, bank, border=border) for b in (responses, responses + noise))
            rows.append(
                [
                    name.replace("one filter (median of 20)", "filter 0"),
                    border,
                    exact.unknowns,
                    exact.equations,
                    exact.rank,
                    exact.augmented_rank,
                    noisy.augmented_rank,
                    noisy.residual,
                    inverse.lost_frequencies(bank, image.shape[2:]),
                ]
            )
    return rows


def as_text(head, rows):
    cells = [head, *([f"{v:.4f}" if isinstance(v, float) else str(v) for v in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", default="reproduced", help="folder for the tables (default: %(default)s)")
    options = parser.parse_args(arguments)
    check_folder(options.output)

    net, (images, _) = decoding.lenet(), decoding.mnist()
    image = net.normalize(images[:1])[:, :, 7:21, 7:21].astype(float)
    tables = {
        "section2-recovery": (
            "What is missing of the image (0: nothing, 1: all), after the best gain",
            ["filters", "border", "noise", *METHODS],
            recovery(image),
        ),
        "section2-ranks": (
            "The linear system A x = b: b the responses, and b with noise",
            [
                "filters",
                "border",
                "unknowns",
                "equations",
                "rank A",
                "rank [A b]",
                "with noise",
                "residual",
                "lost freq.",
            ],
            ranks(image),
        ),
    }
    folder = Path(options.output)
    made = {}
    for name, (title, head, rows) in tables.items():
        text = as_text(head, rows)
        print(f"{title}\n{text}\n")
        save_text(folder / f"{name}.txt", f"{title}\n{text}\n")
        save_text(folder / f"{name}.csv", as_csv(head, rows))
        made[folder / f"{name}.txt"] = f"Section 2: {title}; also {name}.csv"
    return made


if __name__ == "__main__":
    raise SystemExit(run("section2.py", main))
