"""PyTorch modules, read as networks. Only this module knows torch.

`torch.export` lists the operators that a module runs, and `builder` adds a layer for each. Batch norms are not folded into
convolutions, and layers keep the module's dotted names.
"""

from __future__ import annotations

import io
import logging
import math
import operator
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import Array, printable
from .boundary import public
from .builder import LARGEST_IMAGE, Builder, Cannot, Opaque, View, for_channels
from .errors import DecodingError, InvalidValueError, ShapeError, UnsupportedLayerError
from .layers import (
    ELU,
    GELU,
    SELU,
    Dropout,
    Exp,
    HardSigmoid,
    HardSwish,
    Layer,
    LogSoftmax,
    Mish,
    Power,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
)
from .network import Network

HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called", "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip


@public
def from_torch(
    module: Any,
    input_shape: Sequence[int],
    *,
    mean: npt.ArrayLike | None = None,
    std: npt.ArrayLike | None = None,
    classes: Sequence[str] | None = None,
) -> Network:
    """Read a network from a PyTorch module in memory.

    Parameters
    ----------
    module : torch.nn.Module
        It is read as it computes in eval mode, and left as it was. Hooks that users registered are not read.
    input_shape : (C, H, W)
        The size of the images.
    mean, std : float, or array_like of shape (C,), (C, 1, 1) or (C, H, W), optional
        The mean and the deviation by which images were normalized.
    classes : sequence of str, optional
        What the channels of the last layer stand for.

    Returns
    -------
    Network
        Its layers have the module's dotted names, as in torchvision's and timm's feature extractors: ``layer4.1.conv2`` for a
        module, ``layer1.0.add`` for a function, ``layer1.0.relu_1`` for a module that is called a second time. The name of a
        module that holds others stands for the last layer in it. Weights in half precision become single.

    Raises
    ------
    UnsupportedLayerError
        If torch.export cannot follow the module's forward, for instance because it branches on data; the message says why.
    ShapeError
        If the module cannot take images of that shape.
    InvalidValueError
        If torch is not installed, or `module` is no module.

    See Also
    --------
    load_onnx : For a file.

    Notes
    -----
    Our choice: an operator that is not known becomes an unsupported layer under its own name, and only what depends on it cannot
    be run.

    Examples
    --------
    >>> import decoding, torch                                                      # doctest: +SKIP
    >>> net = decoding.from_torch(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5), torch.nn.ReLU()), (3, 32, 32))
    ...                                                                             # doctest: +SKIP
    >>> net.names                                                                   # doctest: +SKIP
    ('0', '1')
    """
    try:
        import torch
    except ImportError:
        raise InvalidValueError('from_torch: this needs torch: pip install "filter-decoding[torch]".') from None
    if not isinstance(module, torch.nn.Module):
        hint = " Load the weights into a module first." if isinstance(module, dict) else ""
        raise InvalidValueError(f"from_torch: module must be a torch.nn.Module, not {type(module).__name__}.{hint}")
    if np.shape(input_shape) != (3,) or not all(
        isinstance(n, (int, np.integer)) and not isinstance(n, bool) and 0 < n <= LARGEST_IMAGE for n in input_shape
    ):
        raise ShapeError(f"from_torch: input_shape must be (C, H, W), each at least 1, not {input_shape!r:.200}.")
    shape = (int(input_shape[0]), int(input_shape[1]), int(input_shape[2]))
    program = _exported(torch, module, shape)
    holds = {name for name, child in module.named_modules() if next(child.children(), None) is not None}
    layers, inputs, aliases = _Reader(torch, program, shape, holds).read()
    unknown = mean is None and std is None
    notes = ["The module does not say how its images were normalized: give mean= and std=."] if unknown else []
    statistics = {"mean": for_channels(mean, shape[0]), "std": for_channels(std, shape[0])}
    return Network(
        layers, inputs=inputs, classes=classes, input_shape=shape, aliases=aliases, notes=notes, **statistics
    )


def _exported(torch: Any, module: Any, shape: tuple[int, int, int]) -> Any:
    """The program that torch.export makes of the module in eval mode."""
    tensors = [*module.parameters(), *module.buffers()]
    floating = [tensor for tensor in tensors if tensor.is_floating_point()] or [torch.zeros(1)]
    if any(tensor.is_meta for tensor in tensors):
        raise InvalidValueError(
            "from_torch: the module's weights have no values: they are on the device 'meta'. Load weights first."
        )
    image = torch.zeros(1, *shape, dtype=floating[0].dtype, device=floating[0].device)
    with _undisturbed(torch, module), _quiet(), torch.no_grad():
        try:
            return torch.export.export(module, (image,), strict=False).run_decompositions({})
        except Exception as error:  # whatever the module's own code, or that of torch, raises
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            said = printable(lines[0] if lines else "", 300)
            raise UnsupportedLayerError(
                f"from_torch: torch.export cannot follow the module on an image {shape}: {type(error).__name__}: {said} "
                "Its forward must take one image and must not depend on what is in it."
            ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the pages that torch.export prints before it raises; our error says the same in a line."""
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    before = log.disabled
    try:
        log.disabled = True
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


@contextmanager
def _undisturbed(torch: Any, module: Any) -> Iterator[None]:
    """Put the module in eval mode, without hooks except torch's own, such as those of weight norms; afterwards restore it.

    Dropouts, which do nothing in eval mode, leave no trace in the export where they work in place, and none at all from PyTorch 2.14 on. So
    they copy their input instead; then their names can be found in the network.
    """
    modules = list(module.modules())
    dropouts = [
        submodule
        for submodule in modules
        if type(submodule).__module__ == "torch.nn.modules.dropout" and "forward" not in vars(submodule)
    ]
    modes = [submodule.training for submodule in modules]
    hooks = [{name: vars(submodule)[name] for name in HOOKS if name in vars(submodule)} for submodule in modules]
    try:
        for submodule in dropouts:
            submodule.forward = torch.clone
        for submodule, held in zip(modules, hooks, strict=True):
            submodule.training = False
            for name, table in held.items():
                own = (
                    {key: hook for key, hook in table.items() if _own(hook)}
                    if "with" not in name and "always" not in name
                    else dict(table)
                )
                vars(submodule)[name] = type(table)(own)
        yield
    finally:
        for submodule in dropouts:
            del submodule.forward
        for submodule, mode, held in zip(modules, modes, hooks, strict=True):
            submodule.training = mode
            vars(submodule).update(held)


def _own(hook: Any) -> bool:
    """Whether a hook is torch's own."""
    return str(getattr(type(hook), "__module__", "")).startswith("torch.") or str(
        getattr(hook, "__module__", "")
    ).startswith("torch.")


class _Reader:
    """Goes through the nodes of an exported program in order, and has a `Builder` add the layers."""

    def __init__(self, torch: Any, program: Any, shape: tuple[int, int, int], holds: set[str]) -> None:
        self.torch, self.program, self.holds = torch, program, holds
        self.builder = Builder(shape)
        signature = program.graph_signature
        self.stored: dict[str, Any] = {}
        for names in (signature.inputs_to_parameters, signature.inputs_to_buffers):
            for node, name in names.items():
                self.stored[node] = program.state_dict.get(name, program.constants.get(name))
        for node, name in signature.inputs_to_lifted_tensor_constants.items():
            self.stored[node] = program.constants[name]
        self.images = set(signature.user_inputs)
        self.values: dict[Any, Any] = {}

    def read(self) -> Any:
        outputs: list[Any] = []
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                stored = self.stored.get(node.name)
                self.values[node] = self.builder.image() if node.name in self.images else stored
            elif node.op == "output":
                outputs = [self.values.get(source) for source in _nodes(node.args) if source.name in self.outputs()]
            elif node.op == "call_function":
                self.values[node] = self.call(node)
            else:
                self.values[node] = Cannot(f"it is a {node.op}")
        views = [
            self.builder.settled(output, self.builder.labels[output.layer] + "_output")
            for output in outputs
            if isinstance(output, (View, Opaque))
        ]
        layers, inputs, aliases = self.builder.finish(views)
        if not layers:
            raise UnsupportedLayerError(
                "from_torch: no layer of the module reads its image: there is nothing to decode."
            )
        return layers, inputs, aliases

    def outputs(self) -> set[str]:
        return set(self.program.graph_signature.user_outputs)

    def call(self, node: Any) -> Any:
        build, name = self.builder, _name(node.target)
        if node.target is operator.getitem:
            value = self.values[node.args[0]]
            return value[node.args[1]] if isinstance(value, (list, tuple)) else value
        below = [self.values[source] for source in node.all_input_nodes]
        flat = [entry for value in below for entry in (value if isinstance(value, (list, tuple)) else [value])]
        if not any(isinstance(entry, (View, Opaque, Cannot)) for entry in flat):
            return self.folded(node)
        module = self.module(node)
        function = re.sub(r"_*\d*$", "", str((node.meta.get("torch_fn") or (name,))[0])) or name
        build.label = module if module and module not in self.holds else f"{module}.{function}".removeprefix(".")
        try:
            for entry in flat:
                if isinstance(entry, Opaque):
                    raise Cannot(f"it reads a layer that is not supported, {printable(build.labels[entry.layer])}")
                if isinstance(entry, Cannot):
                    raise entry
            if name not in OPERATORS:
                raise Cannot("it has no decoding, or is not known here")
            args = [self.argument(arg) for arg in node.args]
            kwargs = {key: self.argument(arg) for key, arg in node.kwargs.items()}
            try:
                result = OPERATORS[name](self, *args, **kwargs)
            except (TypeError, AttributeError, IndexError, ZeroDivisionError) as error:
                raise Cannot(f"its arguments are not those that are known: {printable(str(error), 100)}") from None
        except Cannot as error:
            result = build.unsupported(name, flat, str(error))
        except DecodingError as error:
            error.args = (f"from_torch: {build.label} ({name}): {error}", *error.args[1:])
            raise
        last = result[0] if isinstance(result, list) else result
        if isinstance(last, (View, Opaque)):
            build.within(module, last.layer)
            build.aliases.setdefault(build.label, last.layer)
        return result

    def folded(self, node: Any) -> Any:
        """A constant that the module computes; torch computes it here."""
        args = self.torch.fx.node.map_arg(node.args, lambda source: self.values[source])
        kwargs = self.torch.fx.node.map_arg(node.kwargs, lambda source: self.values[source])
        if "device" in kwargs:
            kwargs = {**kwargs, "device": None}
        try:
            with self.torch.no_grad():
                return node.target(*args, **kwargs)
        except Exception as error:  # whatever torch raises
            return Cannot(f"a constant cannot be computed: {printable(str(error), 100)}")

    def module(self, node: Any) -> str:
        """The dotted name of the module that called the node."""
        stack = node.meta.get("nn_module_stack")
        if not stack:
            return ""
        return str(list(stack.values())[-1][0])

    def argument(self, value: Any) -> Any:
        """An argument of a call: the values of nodes in place of the nodes."""
        if isinstance(value, (list, tuple)):
            return [self.argument(item) for item in value]
        return self.values[value] if isinstance(value, self.torch.fx.Node) else value

    def array(self, value: Any) -> Array | None:
        """A constant as an array; half precision becomes single."""
        if value is None:
            return None
        if isinstance(value, View):
            raise Cannot("its weights are computed from the image")
        if not isinstance(value, self.torch.Tensor):
            return np.asarray(value, np.float64)
        value = value.detach().cpu()
        if value.is_floating_point() and value.dtype not in (self.torch.float32, self.torch.float64):
            value = value.float()
        if value.is_quantized or value.is_complex() or value.is_sparse:
            raise Cannot("its weights are quantized, complex or sparse")
        return np.asarray(value.numpy())

    def needed(self, value: Any) -> Array:
        array = self.array(value)
        if array is None:
            raise Cannot("it has no weights")
        return array


def _nodes(args: Any) -> Iterator[Any]:
    for arg in args:
        if isinstance(arg, (list, tuple)):
            yield from _nodes(arg)
        elif arg is not None and hasattr(arg, "name"):
            yield arg


def _name(target: Any) -> str:
    """``conv2d`` of ``aten.conv2d.default``."""
    parts = str(target).split(".")
    return re.sub(r"(?<=[a-z0-9])_$", "", parts[1]) if len(parts) > 1 else str(getattr(target, "__name__", target))


def _pair(value: Any) -> list[int]:
    numbers = [int(n) for n in value] if isinstance(value, (list, tuple)) else [int(value)]
    return numbers * 2 if len(numbers) == 1 else numbers


def _pads(value: Any) -> list[int]:
    rows, columns = _pair(value)
    return [rows, rows, columns, columns]


def _conv(
    r: _Reader,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    filters = r.needed(weight)
    if filters.ndim != 4:
        raise Cannot(f"it does not run over rows and columns: filters {filters.shape}")
    if isinstance(padding, str):
        spans = [
            (n - 1) * d if padding == "same" else 0 for n, d in zip(filters.shape[2:], _pair(dilation), strict=True)
        ]
        pad = [spans[0] // 2, spans[0] - spans[0] // 2, spans[1] // 2, spans[1] - spans[1] // 2]
    else:
        pad = _pads(padding)
    return r.builder.conv(
        _maps(x), filters, r.array(bias), stride=_pair(stride), pad=pad, dilation=_pair(dilation), groups=groups
    )


def _convolution(
    r: _Reader,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    extra: Any,
    groups: int,
) -> Any:
    if transposed:
        return _conv_transpose(r, x, weight, bias, stride, padding, extra, groups, dilation)
    return _conv(r, x, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    r: _Reader,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    filters = r.needed(weight)
    if filters.ndim != 4:
        raise Cannot(f"it does not run over rows and columns: filters {filters.shape}")
    return r.builder.conv_transpose(
        _maps(x), filters, r.array(bias), stride=_pair(stride), pad=_pads(padding), extra=_pair(output_padding),
        dilation=_pair(dilation), groups=groups,
    )  # fmt: skip


def _maps(x: Any) -> View:
    if not isinstance(x, View):
        raise Cannot("its first input is a constant")
    return x


def _batch_norm(
    r: _Reader, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, momentum: float, epsilon: float
) -> Any:
    means = r.array(mean)
    if means is None:
        raise Cannot("it keeps no statistics, and normalizes by the images of a batch")
    ones = np.ones_like(means)
    scale, offset = (r.array(tensor) for tensor in (weight, bias))
    result = r.builder.batch_norm(
        _maps(x),
        ones if scale is None else scale,
        0 * ones if offset is None else offset,
        means,
        r.needed(variance),
        epsilon,
    )
    return [result, Cannot("it is a statistic"), Cannot("it is a statistic")]


def _batch_norm_whole(
    r: _Reader,
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    training: bool,
    momentum: float,
    epsilon: float,
    cudnn: bool = False,
) -> Any:
    if training:
        raise Cannot("it normalizes by the images of a batch")
    return _batch_norm(r, x, weight, bias, mean, variance, momentum, epsilon)[0]


def _unary(make: Callable[..., Layer]) -> Callable[..., Any]:
    def run(r: _Reader, x: Any, *args: Any, **kwargs: Any) -> Any:
        return r.builder.elementwise(_maps(x), make(*args, **kwargs))

    return run


def _softplus(r: _Reader, x: Any, beta: float = 1, threshold: float = 20) -> Any:
    if beta != 1:
        raise Cannot(f"its beta is {beta}, not 1")
    return r.builder.elementwise(_maps(x), Softplus())


def _elu(alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Layer:
    if scale != 1 and input_scale == 1:
        return SELU(alpha=alpha, gamma=scale)
    return ELU(alpha=alpha, scale=1 / input_scale)


def _clamp(r: _Reader, x: Any, low: Any = None, high: Any = None, **bounds: Any) -> Any:
    low, high = bounds.get("min", low), bounds.get("max", high)
    return r.builder.clip(_maps(x), -math.inf if low is None else float(low), math.inf if high is None else float(high))


def _add(r: _Reader, a: Any, b: Any, *, alpha: float = 1) -> Any:
    if isinstance(a, View) and isinstance(b, View):
        return r.builder.add(a, b if alpha == 1 else r.builder.affine(b, float(alpha), 0.0))
    if isinstance(a, View):
        return r.builder.affine(a, 1.0, r.needed(b) * np.float32(alpha))
    return r.builder.affine(b, float(alpha), r.needed(a))


def _sub(r: _Reader, a: Any, b: Any, *, alpha: float = 1) -> Any:
    if isinstance(a, View) and isinstance(b, View):
        return r.builder.subtract(a, b if alpha == 1 else r.builder.affine(b, float(alpha), 0.0))
    if isinstance(a, View):
        return r.builder.affine(a, 1.0, -r.needed(b) * np.float32(alpha))
    return r.builder.affine(b, -float(alpha), r.needed(a))


def _rsub(r: _Reader, a: Any, b: Any, alpha: float = 1) -> Any:
    return _sub(r, b, a, alpha=alpha)


def _mul(r: _Reader, a: Any, b: Any) -> Any:
    if isinstance(a, View) and isinstance(b, View):
        return r.builder.multiply(a, b)
    view, constant = (a, b) if isinstance(a, View) else (b, a)
    return r.builder.affine(view, r.needed(constant), 0.0)


def _div(r: _Reader, a: Any, b: Any, **options: Any) -> Any:
    if options.get("rounding_mode"):
        raise Cannot("it rounds")
    if isinstance(a, View) and isinstance(b, View):
        return r.builder.divide(a, b)
    if isinstance(b, View):
        raise Cannot("it divides by a map")
    divisor = r.needed(b)
    if not np.all(divisor):
        raise Cannot("it divides by zero")
    return r.builder.affine(_maps(a), 1 / divisor, 0.0)


def _linear(r: _Reader, x: Any, weight: Any, bias: Any = None) -> Any:
    return r.builder.linear(_maps(x), r.needed(weight).T, r.array(bias))


def _addmm(r: _Reader, bias: Any, x: Any, weight: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return r.builder.linear(_maps(x), r.needed(weight) * np.float32(alpha), r.needed(bias) * np.float32(beta))


def _matmul(r: _Reader, x: Any, weight: Any) -> Any:
    if isinstance(weight, View):
        raise Cannot("it multiplies two computed tensors")
    return r.builder.linear(_maps(x), r.needed(weight))


def _view(r: _Reader, x: Any, shape: Sequence[int]) -> Any:
    sizes, view = [int(n) for n in shape], _maps(x)
    if -1 in sizes:
        sizes[sizes.index(-1)] = math.prod(view.shape) // max(-math.prod(sizes), 1)
    return r.builder.reshape(view, sizes)


def _transpose(r: _Reader, x: Any, a: int, b: int) -> Any:
    view = _maps(x)
    order = list(range(len(view.axes)))
    order[a], order[b] = order[b], order[a]
    return r.builder.transpose(view, order)


def _squeeze(r: _Reader, x: Any, axes: Any = None) -> Any:
    view = _maps(x)
    if axes is not None:
        axes = [axis for axis in (axes if isinstance(axes, list) else [axes]) if view.shape[axis] == 1]
    return r.builder.squeeze(view, axes)


def _max_pool(
    r: _Reader, x: Any, size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil: bool = False
) -> Any:
    return r.builder.pool(
        _maps(x),
        "max",
        size=_pair(size),
        stride=_pair(stride or size),
        pad=_pads(padding),
        dilation=_pair(dilation),
        ceil=ceil,
    )


def _avg_pool(
    r: _Reader,
    x: Any,
    size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil: bool = False,
    count: bool = True,
    divisor: Any = None,
) -> Any:
    if divisor is not None:
        raise Cannot("it divides by another number than that of the window's cells")
    return r.builder.pool(
        _maps(x),
        "mean",
        size=_pair(size),
        stride=_pair(stride or size),
        pad=_pads(padding),
        ceil=ceil,
        count_pads=count,
    )


def _over(kind: str) -> Callable[..., Any]:
    def run(r: _Reader, x: Any, axes: Any = None, keep: bool = False, **options: Any) -> Any:
        view = _maps(x)
        chosen = list(range(len(view.axes))) if axes in (None, []) else axes if isinstance(axes, list) else [axes]
        return r.builder.over(view, chosen, keep, kind)

    return run


def _split(r: _Reader, x: Any, sizes: Any, axis: int = 0) -> Any:
    view = _maps(x)
    count = view.shape[axis]
    if not isinstance(sizes, list):
        sizes = [min(sizes, count - i) for i in range(0, count, sizes)]
    starts = np.cumsum([0, *sizes])
    return [r.builder.select(view, axis, np.arange(starts[i], starts[i + 1])) for i in range(len(sizes))]


def _chunk(r: _Reader, x: Any, chunks: int, axis: int = 0) -> Any:
    return _split(r, x, -(-_maps(x).shape[axis] // chunks), axis)


def _slice(r: _Reader, x: Any, axis: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    view = _maps(x)
    return r.builder.select(view, axis, np.arange(view.shape[axis])[slice(start, end, step)])


def _select(r: _Reader, x: Any, axis: int, place: int) -> Any:
    return r.builder.select(_maps(x), axis, np.array([place]), drop=True)


def _index_select(r: _Reader, x: Any, axis: int, places: Any) -> Any:
    return r.builder.select(_maps(x), axis, r.needed(places).astype(np.intp).reshape(-1))


def _index(r: _Reader, x: Any, indices: Sequence[Any]) -> Any:
    given = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if len(given) != 1 or isinstance(given[0][1], View):
        raise Cannot("it picks by a table, or by what is in the image")
    places = r.needed(given[0][1])
    if places.ndim != 1:
        raise Cannot("it picks by a table")
    places = np.flatnonzero(places) if places.dtype.kind == "b" else places.astype(np.intp)
    return r.builder.select(_maps(x), given[0][0], places)


def _softmax(r: _Reader, x: Any, axis: int, *args: Any, **options: Any) -> Any:
    return r.builder.softmax(_maps(x), axis)


def _log_softmax(r: _Reader, x: Any, axis: int, *args: Any, **options: Any) -> Any:
    return r.builder.softmax(_maps(x), axis, LogSoftmax())


def _layer_norm(
    r: _Reader,
    x: Any,
    shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    epsilon: float = 1e-5,
    cudnn: bool = False,
) -> Any:
    return r.builder.layer_norm(_maps(x), -len(shape), r.array(weight), r.array(bias), epsilon)


def _native_layer_norm(r: _Reader, *args: Any) -> Any:
    return [_layer_norm(r, *args), Cannot("it is a statistic"), Cannot("it is a statistic")]


def _group_norm(
    r: _Reader, x: Any, groups: int, weight: Any = None, bias: Any = None, epsilon: float = 1e-5, cudnn: bool = False
) -> Any:
    return r.builder.group_norm(_maps(x), groups, r.array(weight), r.array(bias), epsilon)


def _instance_norm(
    r: _Reader,
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    by_image: bool,
    momentum: float,
    epsilon: float,
    cudnn: bool = False,
) -> Any:
    view = _maps(x)
    if not by_image:
        return _batch_norm(r, x, weight, bias, mean, variance, momentum, epsilon)[0]
    return r.builder.group_norm(view, view.shape[1], r.array(weight), r.array(bias), epsilon)


def _pixel_shuffle(r: _Reader, x: Any, factor: int) -> Any:
    view, build = _maps(x), r.builder
    n, channels, rows, columns = view.shape
    view = build.reshape(view, [n, channels // factor**2, factor, factor, rows, columns])
    view = build.transpose(view, [0, 1, 4, 2, 5, 3])
    return build.reshape(view, [n, channels // factor**2, rows * factor, columns * factor])


def _pixel_unshuffle(r: _Reader, x: Any, factor: int) -> Any:
    view, build = _maps(x), r.builder
    n, channels, rows, columns = view.shape
    view = build.reshape(view, [n, channels, rows // factor, factor, columns // factor, factor])
    view = build.transpose(view, [0, 1, 3, 5, 2, 4])
    return build.reshape(view, [n, channels * factor**2, rows // factor, columns // factor])


def _channel_shuffle(r: _Reader, x: Any, groups: int) -> Any:
    view, build = _maps(x), r.builder
    n, channels, rows, columns = view.shape
    view = build.transpose(build.reshape(view, [n, groups, channels // groups, rows, columns]), [0, 2, 1, 3, 4])
    return build.reshape(view, [n, channels, rows, columns])


def _resize(r: _Reader, view: View, size: Any, scales: Any, **options: Any) -> Any:
    """Resize to a size, or by scales, which are two numbers or a list of two."""
    if len(scales) == 1:
        scales = scales[0]
    factors = None if not scales or None in scales else [float(scale) for scale in scales]
    if not size:
        if factors is None:
            raise Cannot("it says neither size nor scale")
        size = [math.floor(side * factor) for side, factor in zip(view.shape[2:], factors, strict=True)]
    return r.builder.resize(view, [int(n) for n in size], scale=factors, **options)


def _nearest(r: _Reader, x: Any, size: Any, *scales: Any) -> Any:
    return _resize(r, _maps(x), size, scales, mode="nearest", align="corner")


def _bilinear(r: _Reader, x: Any, size: Any, corners: bool, *scales: Any) -> Any:
    return _resize(r, _maps(x), size, scales, mode="linear", align="corners" if corners else "centre")


def _pad(r: _Reader, x: Any, pads: Sequence[int], mode: Any = "constant", value: Any = 0.0) -> Any:
    view = _maps(x)
    by_axis = [(0, 0)] * len(view.axes)
    for i in range(len(pads) // 2):
        by_axis[-1 - i] = (int(pads[2 * i]), int(pads[2 * i + 1]))
    if mode not in ("constant", "reflect", "replicate"):
        raise Cannot(f"it pads by '{mode}'")
    return r.builder.pad(view, by_axis, float(value or 0.0), "edge" if mode == "replicate" else mode)


def _constant_pad(r: _Reader, x: Any, pads: Sequence[int], value: Any = 0.0) -> Any:
    return _pad(r, x, pads, "constant", value)


def _reflection_pad(r: _Reader, x: Any, pads: Sequence[int]) -> Any:
    return _pad(r, x, pads, "reflect")


def _replication_pad(r: _Reader, x: Any, pads: Sequence[int]) -> Any:
    return _pad(r, x, pads, "replicate")


def _expand(r: _Reader, x: Any, shape: Sequence[int], **options: Any) -> Any:
    view = _maps(x)
    before = len(shape) - len(view.axes)
    return r.builder.expand(view, [view.shape[i - before] if n == -1 else int(n) for i, n in enumerate(shape)])


def _cat(r: _Reader, tensors: Sequence[Any], axis: int = 0) -> Any:
    return r.builder.concat([tensor if isinstance(tensor, View) else r.needed(tensor) for tensor in tensors], axis)


def _stack(r: _Reader, tensors: Sequence[Any], axis: int = 0) -> Any:
    views = [_maps(tensor) for tensor in tensors]
    axis = axis + len(views[0].axes) + 1 if axis < 0 else axis
    joined = r.builder.concat([r.builder.unsqueeze(view, [axis]) for view in views], axis)
    return joined


def _same(r: _Reader, x: Any, *args: Any, **options: Any) -> Any:
    return _maps(x)


def _to(r: _Reader, x: Any, *args: Any, **options: Any) -> Any:
    kinds = [option for option in (*args, *options.values()) if isinstance(option, r.torch.dtype)]
    if any(not kind.is_floating_point for kind in kinds):
        raise Cannot("it makes integers of responses")
    return _maps(x)


def _piece(name: str, function: Callable[..., Array]) -> Callable[..., Any]:
    return lambda r, x, *numbers: r.builder.piece(_maps(x), name, lambda z: function(z, *numbers))


def _pow(r: _Reader, x: Any, exponent: Any) -> Any:
    if isinstance(exponent, View) or r.needed(exponent).size != 1:
        raise Cannot("it raises to more than one power")
    return r.builder.elementwise(_maps(x), Power(float(r.needed(exponent).reshape(()))))


def _norm(r: _Reader, x: Any, order: float = 2, axes: Any = None, keep: bool = False, **options: Any) -> Any:
    if order != 2:
        raise Cannot(f"it takes the norm of order {order}")
    view = _maps(x)
    return r.builder.norm(view, axes or range(len(view.axes)), keep)


def _var(r: _Reader, x: Any, axes: Any = None, correction: float | None = None, keepdim: bool = False) -> Any:
    view = _maps(x)
    chosen = list(range(len(view.axes))) if axes in (None, []) else axes
    count = math.prod(view.shape[axis] for axis in chosen)
    less = count - (1 if correction is None else correction)
    if less <= 0:
        raise Cannot("it divides by zero")
    return r.builder.affine(r.builder.variance(view, chosen, keepdim), count / less, 0.0)


def _erf(z: Array) -> Array:
    from scipy.special import erf

    return np.asarray(erf(z))


OPERATORS: dict[str, Callable[..., Any]] = {
    "conv2d": _conv, "convolution": _convolution, "conv_transpose2d": _conv_transpose,
    "_native_batch_norm_legit_no_training": _batch_norm, "batch_norm": _batch_norm_whole,
    "relu": _unary(lambda: ReLU()), "relu6": lambda r, x: r.builder.clip(_maps(x), 0.0, 6.0),
    "leaky_relu": _unary(lambda slope=0.01: ReLU(leak=float(slope))),
    "hardtanh": lambda r, x, low=-1.0, high=1.0: r.builder.clip(_maps(x), float(low), float(high)),
    "silu": _unary(lambda: SiLU()), "gelu": _unary(lambda approximate="none": GELU(approximate=approximate)),
    "hardswish": _unary(lambda: HardSwish()), "hardsigmoid": _unary(lambda: HardSigmoid()),
    "sigmoid": _unary(lambda: Sigmoid()), "tanh": _unary(lambda: Tanh()), "mish": _unary(lambda: Mish()),
    "elu": _unary(_elu), "celu": _unary(lambda alpha=1.0: ELU(alpha=alpha, scale=alpha)), "selu": _unary(lambda: SELU()),
    "softplus": _softplus, "softsign": _unary(lambda: Softsign()), "exp": _unary(lambda: Exp()),
    "prelu": lambda r, x, slope: r.builder.prelu(_maps(x), r.needed(slope) if r.needed(slope).size == 1 else r.needed(slope).reshape(-1, *(1,) * (len(_maps(x).axes) - 2))),
    "_prelu_kernel": lambda r, x, slope: r.builder.prelu(_maps(x), r.needed(slope)),
    "clamp": _clamp, "clamp_min": lambda r, x, low: _clamp(r, x, low), "clamp_max": lambda r, x, high: _clamp(r, x, None, high),
    "add": _add, "sub": _sub, "rsub": _rsub, "mul": _mul, "div": _div, "neg": lambda r, x: r.builder.affine(_maps(x), -1.0, 0.0),
    "linear": _linear, "addmm": _addmm, "mm": _matmul, "matmul": _matmul,
    "view": _view, "reshape": _view, "_unsafe_view": _view, "permute": lambda r, x, order: r.builder.transpose(_maps(x), order),
    "transpose": _transpose, "t": lambda r, x: _transpose(r, x, 0, 1),
    "flatten": lambda r, x, start=0, end=-1: r.builder.flatten(_maps(x), start, end),
    "squeeze": _squeeze, "unsqueeze": lambda r, x, axis: r.builder.unsqueeze(_maps(x), [axis]),
    "max_pool2d": _max_pool, "max_pool2d_with_indices": lambda r, *a, **k: [_max_pool(r, *a, **k), Cannot("it gives places")],
    "avg_pool2d": _avg_pool, "adaptive_avg_pool2d": lambda r, x, size: r.builder.adaptive(_maps(x), "mean", _pair(size)),
    "_adaptive_avg_pool2d": lambda r, x, size: r.builder.adaptive(_maps(x), "mean", _pair(size)),
    "adaptive_max_pool2d": lambda r, x, size: [r.builder.adaptive(_maps(x), "max", _pair(size)), Cannot("it gives places")],
    "mean": _over("mean"), "sum": _over("sum"), "amax": _over("max"),
    "split": _split, "split_with_sizes": _split, "chunk": _chunk, "slice": _slice, "select": _select,
    "index_select": _index_select, "index": _index, "narrow": lambda r, x, axis, start, n: _slice(r, x, axis, start, start + n),
    "softmax": _softmax, "_softmax": _softmax, "log_softmax": _log_softmax, "_log_softmax": _log_softmax,
    "layer_norm": _layer_norm, "native_layer_norm": _native_layer_norm, "group_norm": _group_norm, "instance_norm": _instance_norm,
    "pixel_shuffle": _pixel_shuffle, "pixel_unshuffle": _pixel_unshuffle, "channel_shuffle": _channel_shuffle,
    "native_channel_shuffle": _channel_shuffle, "upsample_nearest2d": _nearest, "upsample_bilinear2d": _bilinear,
    "pad": _pad, "constant_pad_nd": _constant_pad, "reflection_pad2d": _reflection_pad, "replication_pad2d": _replication_pad,
    "expand": _expand, "cat": _cat, "stack": _stack, "dropout": _unary(lambda *a: Dropout()), "feature_dropout": _unary(lambda *a: Dropout()),
    "alpha_dropout": _unary(lambda *a: Dropout()), "clone": _same, "contiguous": _same, "detach": _same, "alias": _same,
    "abs": _piece("abs", np.abs), "log": _piece("log", np.log), "sqrt": _unary(lambda: Power(0.5)), "rsqrt": _unary(lambda: Power(-0.5)), "square": _unary(lambda: Power(2)), "erf": _piece("erf", _erf),
    "log1p": _piece("log1p", np.log1p), "reciprocal": _unary(lambda: Power(-1)), "pow": _pow,
    "linalg_vector_norm": _norm, "var": _var, "std": lambda r, *a, **k: r.builder.elementwise(_var(r, *a, **k), Power(0.5)),
    "addcmul": lambda r, x, a, b, value=1: _add(r, x, _mul(r, a, b), alpha=value),
    "lift_fresh_copy": _same, "to": _to, "_to_copy": _to, "type_as": _same,
}  # fmt: skip
