"""Damaged and hostile files: reading any bytes gives a network or a `DecodingError`, in little memory and time."""

import struct
import subprocess
import sys
import tracemalloc
import zlib

import fuzz_files
import numpy as np
import pytest
from mat_files import write_v5, write_v73

from decoding import WeightsFormatError, load_matconvnet
from decoding.matfile import ALWAYS_ALLOWED


@pytest.mark.parametrize("mutations", [200, pytest.param(20_000, marks=pytest.mark.slow)])
def test_no_damaged_file_escapes(mutations):
    outcomes, escapes = fuzz_files.run(mutations)
    assert escapes == []
    assert sum(outcomes.values()) == mutations
    # Enough of them reach beyond the first bytes.
    assert outcomes["read"] > mutations / 20
    assert outcomes["WeightsFormatError"] > mutations / 5


@pytest.mark.slow
def test_the_fuzzer_sees_what_it_looks_for():
    outcomes, escapes = fuzz_files.run(10, target="misbehave", seconds=2)
    assert dict(outcomes) == {"read": 6, "escape": 4}
    assert [number for number, _ in escapes] == [2, 4, 6, 8]
    for (_, what), word in zip(escapes, ("KeyError", "ended with -11", "MemoryError", "Hang"), strict=True):
        assert word in what


def test_the_fuzzer_makes_the_same_files_from_the_same_seed():
    ours, theirs = fuzz_files.Mutator(5), fuzz_files.Mutator(5)
    kinds = set()
    for number in range(60):
        name, content = ours.make(number)
        kinds.add(name)
        assert (name, content) == theirs.make(number)
    assert kinds == {"bytes.mat", "packed.mat", "values.mat", "digits.idx"}


# MAT v5, byte by byte.

HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
CELL, STRUCT, DOUBLE = 1, 2, 6


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def array(kind, shape, name, content, flags=0):
    head = element(6, struct.pack("<II", kind | flags << 8, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, head + element(1, name) + content)


def refused(tmp_path, content, message):
    """The file is refused, in memory that is a small multiple of it or below a bound; returns its peak."""
    path = tmp_path / "net.mat"
    if content is not None:
        path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsFormatError, match=message) as caught:
            load_matconvnet(path)
        assert str(caught.value).isprintable()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < max(3 * ALWAYS_ALLOWED, 20 * path.stat().st_size)
    return peak


def packed(content):
    content = zlib.compress(content)
    return struct.pack("<II", 15, len(content)) + content


def bomb(name, size=150 * 2**20):
    """A compressed cell that grows a thousandfold."""
    head = array(CELL, (1, 100), name, b"")
    head = struct.pack("<II", 14, size + len(head) - 8) + head[8:]
    packer = zlib.compressobj()
    content = b"".join(map(packer.compress, [head, *[bytes(2**20)] * (size // 2**20)])) + packer.flush()
    return struct.pack("<II", 15, len(content)) + content


def test_a_header_that_claims_10_to_the_12(tmp_path):
    for shape in [(10**6, 10**6), (2**31 - 1, 2**31 - 1, 2**31 - 1), (-1, 3), (10**6,) * 20]:
        content = array(DOUBLE, shape, b"", element(9, bytes(80)))
        layer = array(
            STRUCT,
            (1, 1),
            b"",
            element(5, struct.pack("<i", 8))
            + element(1, b"type\0\0\0\0" + b"filters\0")
            + array(4, (1, 4), b"", element(16, b"conv"))
            + content,
        )
        layers = array(CELL, (1, 1), b"layers", layer)
        for file in (HEADER + layers, HEADER + packed(layers)):
            assert refused(tmp_path, file, "claims|sizes") < 2**20
    for kind in (CELL, STRUCT):
        assert (
            refused(tmp_path, HEADER + array(kind, (10**6, 10**6), b"layers", bytes(64)), "claims|field names|length")
            < 2**20
        )


def test_compressed_bombs(tmp_path):
    refused(tmp_path, HEADER + bomb(b"layers"), "unpacks to more than 33554432 bytes, as no network does")
    # Each of these alone is allowed; together they are not.
    zeros = array(DOUBLE, (1, 20 * 2**17), b"", element(9, bytes(20 * 2**20)))
    one, two = (packed(array(CELL, (1, 1), name, zeros)) for name in (b"a", b"b"))
    refused(tmp_path, HEADER + one, "no MatConvNet network")
    refused(tmp_path, HEADER + one + two, "unpacks to more than 33554432 bytes")


def test_what_nobody_asks_for_costs_nothing(tmp_path):
    """An image database beside the network is not decompressed."""
    write_v5(tmp_path / "net.mat", {"net": {"layers": [{"type": "conv", "weights": [np.ones((3, 2, 1, 4))]}]}})
    content = (tmp_path / "net.mat").read_bytes() + bomb(b"imdb")
    (tmp_path / "net.mat").write_bytes(content)
    tracemalloc.start()
    assert load_matconvnet(tmp_path / "net.mat").layers[0].filters.shape == (4, 1, 3, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


def test_nesting_without_end(tmp_path):
    inner = b""
    for _ in range(2000):
        inner = array(CELL, (1, 1), b"", inner)
    refused(tmp_path, HEADER + array(CELL, (1, 1), b"layers", inner), r"layers\{1\} should be a layer, and is cell 1×1")
    refused(tmp_path, HEADER + array(CELL, (1, 1), b"other", inner), "no MatConvNet network")


def test_cut_everywhere(tmp_path):
    """Every beginning of a file is refused, or is the whole network."""
    write_v5(tmp_path / "whole.mat", {"net": fuzz_files.networks()[1]})
    whole = (tmp_path / "whole.mat").read_bytes()
    path = tmp_path / "net.mat"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsFormatError):
            load_matconvnet(path)


@pytest.mark.parametrize("kind", [3, 5, 16, 17, 99])
def test_objects_functions_and_sparse_arrays_are_not_numbers(tmp_path, kind):
    path = tmp_path / "net.mat"
    write_v5(path, {"layers": [{"type": "conv", "filters": np.full((1, 1, 1, 1), 1234.5)}]}, compress=False)
    content = path.read_bytes()
    at = content.index(struct.pack("<IIII", 6, 8, DOUBLE, 0)) + 8
    refused(
        tmp_path, content[:at] + bytes([kind]) + content[at + 1 :], "filters should be numbers|type of|element|name"
    )


def test_complex_weights(tmp_path):
    path = tmp_path / "net.mat"
    write_v5(path, {"layers": [{"type": "conv", "filters": np.full((1, 1, 1, 2), 1 + 2j)}]})
    refused(tmp_path, None, "filters should be numbers, and are complex numbers")


def test_the_other_byte_order(tmp_path):
    """A file from a big-endian machine, made by hand."""

    def big(kind, content):
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    def matrix(kind, shape, name, content):
        return big(
            14,
            big(6, struct.pack(">II", kind, 0))
            + big(5, struct.pack(f">{len(shape)}i", *shape))
            + big(1, name)
            + content,
        )

    kind = matrix(4, (1, 4), b"", big(17, "conv".encode("utf-16-be")))
    filters = matrix(7, (2, 1, 1, 3), b"", big(7, struct.pack(">6f", *range(6))))
    layer = matrix(
        STRUCT, (1, 1), b"", big(5, struct.pack(">i", 8)) + big(1, b"type\0\0\0\0filters\0") + kind + filters
    )
    path = tmp_path / "net.mat"
    path.write_bytes(HEADER[:124] + b"\x01\x00MI" + matrix(CELL, (1, 1), b"layers", layer))
    bank = load_matconvnet(path).layers[0].filters
    assert bank.tolist() == [[[[0], [1]]], [[[2], [3]]], [[[4], [5]]]]
    assert bank.dtype.isnative


# MAT v7.3.


@pytest.fixture
def v73(tmp_path):
    """A small v7.3 file, to be opened and harmed."""
    h5py = pytest.importorskip("h5py", reason="v7.3 is read through h5py, the extra `hdf5`")
    layers = [{"type": "conv", "weights": [np.arange(24.0).reshape(3, 2, 1, 4), np.ones((1, 4))]}, {"type": "relu"}]
    write_v73(tmp_path / "net.mat", {"net": {"layers": layers}})
    return lambda: h5py.File(tmp_path / "net.mat", "r+")


def filters_of(file):
    """The data set of the first layer's filters, and its group."""
    layer = file[file["net/layers"][0, 0]]
    return layer, file[layer["weights"][0, 0]]


def put_filters(file, item):
    layer, _ = filters_of(file)
    item.attrs["MATLAB_class"] = np.bytes_("double")
    layer["weights"][0, 0] = item.ref


def test_references_in_circles(v73, tmp_path):
    with v73() as file:
        layer, _ = filters_of(file)
        layer["weights"][0, 0] = layer["weights"].ref
    refused(tmp_path, None, "filters should be numbers, and are cell")
    with v73() as file:
        file["net/layers"][0, 0] = file["net"].ref
    refused(tmp_path, None, "has no type; its fields are layers")
    with v73() as file:
        del file["net"]
        file["net"] = file["/"]
    refused(tmp_path, None, "no MatConvNet network")


def test_references_to_nowhere(v73, tmp_path):
    import h5py

    with v73() as file:
        file["net/layers"][1, 0] = h5py.Reference()
    refused(tmp_path, None, "HDF5 cannot read it")
    with v73() as file:
        name = file[file["net/layers"][0, 0]].name
        del file[name]
    refused(tmp_path, None, "HDF5 cannot read it")


@pytest.mark.parametrize("kind", ["external", "soft"])
def test_links_are_not_followed(v73, tmp_path, kind):
    import h5py

    write_v73(tmp_path / "other.mat", {"net": {"layers": [{"type": "relu"}]}})
    with v73() as file:
        del file["net"]
        outside = h5py.ExternalLink(str(tmp_path / "other.mat"), "/net")
        file["net"] = outside if kind == "external" else h5py.SoftLink("/#refs#/r1")
    refused(tmp_path, None, "'net' is a link to somewhere else, which is not followed")


def test_links_within_a_struct_are_not_followed_either(v73, tmp_path):
    import h5py

    write_v73(tmp_path / "other.mat", {"net": {"layers": [{"type": "relu"}]}})
    with v73() as file:
        del file["net/layers"]
        file["net/layers"] = h5py.ExternalLink(str(tmp_path / "other.mat"), "/net/layers")
    refused(tmp_path, None, "'layers' is a link to somewhere else, which is not followed")


def test_data_in_other_files_is_not_read(v73, tmp_path):
    import h5py

    (tmp_path / "secret.bin").write_bytes(bytes(8 * 24))
    layout = h5py.VirtualLayout((4, 1, 2, 3), "f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "a", (4, 1, 2, 3))
    with v73() as file:
        place = [(str(tmp_path / "secret.bin"), 0, 192)]
        put_filters(file, file["#refs#"].create_dataset("outside", (4, 1, 2, 3), "f8", external=place))
    refused(tmp_path, None, "a data set lies in another file, which is not opened")
    with v73() as file:
        put_filters(file, file["#refs#"].create_virtual_dataset("virtual", layout))
    refused(tmp_path, None, "a data set lies in another file, which is not opened")


@pytest.mark.parametrize("options", [{"chunks": (1, 1, 1000, 1000)}, {}])
def test_10_to_the_12_numbers_that_were_never_written(v73, tmp_path, options):
    with v73() as file:
        put_filters(file, file["#refs#"].create_dataset("vast", (1000, 1000, 1000, 1000), "f8", **options))
    refused(tmp_path, None, "unpacks to more than|claims")


def test_a_chunk_that_grows(v73, tmp_path):
    with v73() as file:
        item = file["#refs#"].create_dataset("bomb", (4, 1, 2, 3), "f8", chunks=(4, 1, 2, 3), compression="gzip")
        item.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(150 * 2**20)))
        put_filters(file, item)
    refused(tmp_path, None, "HDF5 cannot read it")


def test_filters_that_matlab_does_not_use(v73, tmp_path):
    with v73() as file:
        put_filters(file, file["#refs#"].create_dataset("lzf", data=np.ones((4, 1, 2, 3)), compression="lzf"))
    refused(tmp_path, None, "compressed in a way that MATLAB does not use")


PACKED = [{}, {"shuffle": True}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True, "fletcher32": True}]


@pytest.mark.parametrize("options", PACKED)
def test_chunks_are_put_together_as_h5py_does(v73, tmp_path, options):
    values = np.random.default_rng(0).normal(size=(4, 3, 7, 5))
    with v73() as file:
        put_filters(file, file["#refs#"].create_dataset("chunks", data=values, chunks=(3, 2, 4, 3), **options))
    bank = load_matconvnet(tmp_path / "net.mat").layers[0].filters
    assert (bank == values.swapaxes(2, 3)).all()


@pytest.mark.parametrize("bad", [np.ones(3), np.bytes_("x" * 200), 3.5, "no class"])
def test_attributes_that_are_no_words(v73, tmp_path, bad):
    with v73() as file:
        filters_of(file)[1].attrs["MATLAB_class"] = bad
    refused(
        tmp_path,
        None,
        "the attribute MATLAB_class is damaged|filters should be numbers, and are object of class no class",
    )


@pytest.mark.parametrize("mode", ["r", "r+"])
@pytest.mark.parametrize("locking", [None, True, False, "best-effort"])
def test_a_file_that_this_process_holds_open_is_read(v73, tmp_path, mode, locking):
    import h5py

    with h5py.File(tmp_path / "net.mat", mode, locking=locking):
        assert load_matconvnet(tmp_path / "net.mat").layers[0].filters.shape == (4, 1, 3, 2)


def test_a_file_that_somebody_writes_to_is_not_called_damaged(tmp_path):
    h5py = pytest.importorskip("h5py", reason="v7.3 is read through h5py, the extra `hdf5`")
    h5py.File(tmp_path / "net.mat", "w", libver="latest").close()
    code = "import h5py, os, sys; file = h5py.File(sys.argv[1], 'r+', libver='latest'); file.flush(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "net.mat")], check=True)
    refused(tmp_path, None, "net.mat: it is open elsewhere, for writing .* Close it there first")


def test_not_matlabs_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py", reason="v7.3 is read through h5py, the extra `hdf5`")
    with h5py.File(tmp_path / "net.mat", "w") as file:
        file["model_weights/conv1/kernel"] = np.ones((3, 3))
        file.attrs["backend"] = "other"
    refused(tmp_path, None, "no MatConvNet network in it")
