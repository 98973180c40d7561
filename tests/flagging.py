"""Runs every public function with products that raise floating-point flags for nothing, as those of Apple's Accelerate do.

``@`` cannot be replaced where NumPy looks it up, so the package is imported with ``operator.matmul`` in its place; that and NumPy's own
functions are replaced by ones that raise the flags first. Called by test_stumbles.py in a process of its own; prints what differs.
"""

import ast
import importlib.abc
import importlib.machinery
import operator
import sys
import warnings

import numpy as np

PRODUCTS = [(np, name) for name in ("dot", "tensordot", "einsum", "inner", "outer", "vdot")]
PRODUCTS += [(np, "matmul"), (operator, "matmul")]
PRODUCTS += [(np.linalg, name) for name in ("lstsq", "svd", "eigh", "norm", "solve")]
flagged = set()


class Spelt(ast.NodeTransformer):
    def visit_BinOp(self, node):
        self.generic_visit(node)
        if not isinstance(node.op, ast.MatMult):
            return node
        matmul = ast.parse("__import__('operator').matmul(None, None)", mode="eval").body
        matmul.args = [node.left, node.right]
        return ast.copy_location(matmul, node)


class Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, name):  # never from a cache
        return self.source_to_code(self.get_data(self.path), self.path)

    def source_to_code(self, data, path, **_):
        return compile(ast.fix_missing_locations(Spelt().visit(ast.parse(data))), path, "exec")


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if name.split(".")[0] == "decoding" and spec is not None and spec.origin:
            spec.loader = Loader(name, spec.origin)
        return spec


def flagging(name, product):
    def call(*arguments, **options):
        flagged.add(name)
        np.divide([1.0, 0.0], 0.0)  # divide, invalid
        np.multiply([1e300, 1e-300], [1e300, 1e-300])  # over, under
        return product(*arguments, **options)

    return call


def main():
    sys.meta_path.insert(0, Finder())
    from test_stumbles import every_function

    want = [np.asarray(result) for result in every_function()]
    for owner, name in PRODUCTS:
        setattr(owner, name, flagging(name, getattr(owner, name)))
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        before = np.geterr()
        got = [np.asarray(result) for result in every_function()]
        assert np.geterr() == before
    assert {"matmul", "einsum", "tensordot"} <= flagged, flagged
    assert len(got) == len(want)
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        assert np.array_equal(a, b, equal_nan=True), (i, a, b)


if __name__ == "__main__":
    main()
