"""Writes plain values to MATLAB files: v5 with SciPy, and v7.3 with h5py in MATLAB's layout.

A dict is a struct, a list a row cell, `Structs` an array of structs, a text a char row, the rest arrays in MATLAB's axes.
"""

import numpy as np


class Structs(list):
    """A row of structs that have the same fields."""


class Column(list):
    """A cell that is a column."""


def write_v5(path, variables, compress=True):
    import scipy.io

    with open(path, "wb") as file:
        scipy.io.savemat(file, {name: _for_scipy(value) for name, value in variables.items()}, do_compression=compress)
        file.seek(0)
        file.write(b"MATLAB 5.0 MAT-file, without the date".ljust(116))


def _for_scipy(value):
    if isinstance(value, dict):
        return {name: _for_scipy(field) for name, field in value.items()}
    if isinstance(value, Structs):
        array = np.empty((1, len(value)), [(name, object) for name in value[0]])
        for i, each in enumerate(value):
            for name, field in each.items():
                array[0, i][name] = _for_scipy(field)
        return array
    if isinstance(value, list):
        cell = np.empty((len(value), 1) if isinstance(value, Column) else (1, len(value)), object)
        cell.ravel()[:] = [_for_scipy(part) for part in value]
        return cell
    return value


def write_v73(path, variables):
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        writer = _V73(file.create_group("#refs#"))
        for name, value in variables.items():
            writer.put(file, name, value)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2018 HDF5 schema 1.00 ."
    with open(path, "r+b") as file:
        file.write(header.ljust(124) + b"\x00\x02IM")


CLASSES = {"f8": "double", "f4": "single", "u1": "uint8", "u2": "uint16", "i4": "int32"}


class _V73:
    def __init__(self, refs):
        self.refs, self.count = refs, 0

    def put(self, group, name, value):
        if isinstance(value, (dict, Structs)):
            struct = group.create_group(name)
            struct.attrs["MATLAB_class"] = np.bytes_("struct")
            for key in value[0] if isinstance(value, Structs) else value:
                if isinstance(value, Structs):
                    self.dataset(struct, key, self.references([each[key] for each in value]).reshape(-1, 1), None)
                else:
                    self.put(struct, key, value[key])
        elif isinstance(value, list):
            sides = (1, -1) if isinstance(value, Column) else (-1, 1)
            cell = self.references(value).reshape(sides) if value else np.zeros((0, 0))
            self.dataset(group, name, cell, "cell")
        elif isinstance(value, str):
            codes = np.frombuffer(value.encode("utf-16-le"), np.uint16).reshape(-1, 1)
            self.dataset(group, name, codes, "char", MATLAB_int_decode=np.int32(2))
        else:
            array = np.atleast_2d(value)
            self.dataset(group, name, array.T, CLASSES[array.dtype.str[1:]])

    def references(self, values):
        array = np.empty(len(values), object)
        for i, value in enumerate(values):
            self.count += 1
            name = f"r{self.count}"
            self.put(self.refs, name, value)
            array[i] = self.refs[name].ref
        return array

    def dataset(self, group, name, data, kind, **attributes):
        import h5py

        if 0 in data.shape:
            data = np.array(data.shape[::-1], np.uint64)
            attributes = {"MATLAB_empty": np.uint8(1)}
        packed = {"chunks": (2,) * data.ndim, "compression": "gzip", "shuffle": True} if min(data.shape) > 1 else {}
        item = group.create_dataset(name, data=data, dtype=h5py.ref_dtype if data.dtype == object else None, **packed)
        if kind:
            attributes["MATLAB_class"] = np.bytes_(kind)
        for key, attribute in attributes.items():
            item.attrs[key] = attribute
