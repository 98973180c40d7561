"""PyTorch modules: they are read as they compute, left unchanged, and decoded to the gradient of the linear network."""

import functools
import re
import sys
import warnings

import numpy as np
import pytest

import decoding
from decoding import DecodingError, InvalidValueError, ShapeError, UnsupportedLayerError

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from decoding import from_torch  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # torch's own

EPS = float(np.finfo(np.float64).eps)


def same_answers(module, net, shape, batch=2, bound=1e-9):
    module.eval()
    x = torch.from_numpy(np.random.default_rng(1).uniform(-2, 2, (batch, *shape)))
    with torch.no_grad():
        want = module.double()(x).numpy()
    got = net.forward(x.numpy())
    assert not any(isinstance(layer, decoding.Unsupported) for layer in net.layers)
    assert np.abs(got.reshape(want.shape) - want).max() <= bound * max(1, np.abs(want).max())


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu = (
            nn.Conv2d(4, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
        )
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x
        return self.relu(y)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.SiLU())
        self.layer1 = nn.Sequential(Block(), Block())
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.layer1(self.stem(x))
        return self.head(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


def small(dtype=torch.float64):
    torch.manual_seed(0)
    module = Small().to(dtype)
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.running_mean.uniform_(-1, 1)
            each.running_var.uniform_(0.5, 2)
    return module


NAMES = (
    "stem.0", "stem.1", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.relu", "layer1.0.conv2", "layer1.0.bn2", "layer1.0.add", "layer1.0.relu_1",
    "layer1.1.conv1", "layer1.1.bn1", "layer1.1.relu", "layer1.1.conv2", "layer1.1.bn2", "layer1.1.add", "layer1.1.relu_1", "adaptive_avg_pool2d", "head",
)  # fmt: skip


def test_names_kinds_and_answers():
    module = small()
    net = from_torch(module, (3, 17, 19), mean=[1, 2, 3], std=[1, 2, 4], classes=list("abcde"))
    assert net.names == NAMES
    assert [net[name].kind for name in NAMES[1:5]] == ["SiLU", "Conv", "BatchNorm", "ReLU"]
    assert net.index("layer1.0") == net.index("layer1.0.relu_1")
    assert net.index("flatten") == net.index("adaptive_avg_pool2d")
    assert net.classes == tuple("abcde")
    assert (from_torch(nn.Conv2d(3, 4, 3), (3, 9, 9), mean=5).mean.ravel() == [5, 5, 5]).all()
    assert net.dtype == np.float64
    assert net["layer1.0.bn1"].epsilon == 1e-5
    same_answers(module, net, (3, 17, 19))


def test_the_module_is_left_as_it_was():
    module, seen = small(torch.float16), []
    module.train()
    module.layer1.eval()
    for parameter in module.stem.parameters():
        parameter.requires_grad_(False)
    module.head.weight.grad = torch.ones_like(module.head.weight)
    module.stem[0].register_forward_hook(lambda *all: seen.append(all))
    module.layer1[0].register_forward_pre_hook(lambda *all: seen.append(all))
    module.head.register_full_backward_hook(lambda *all: seen.append(all))
    module.head.register_forward_hook(lambda *all, **more: seen.append(all), with_kwargs=True)

    def state():
        return (
            [(each.training, [list(vars(each)[name]) for name in vars(each) if "hook" in name and vars(each)[name] is not None and hasattr(vars(each)[name], "keys")]) for each in module.modules()],
            [(p.requires_grad, p.dtype, p.device, p.data_ptr(), None if p.grad is None else p.grad.tolist()) for p in module.parameters()],
            [b.tolist() for b in module.buffers()],
            torch.get_rng_state().tolist(), torch.is_grad_enabled(), torch.get_default_dtype(),
        )  # fmt: skip

    before = state()
    net = from_torch(module, (3, 17, 19))
    assert state() == before
    assert seen == []
    assert net.dtype == np.float32
    half = small(torch.float16).double()
    same_answers(half, net, (3, 17, 19), bound=1e-5)


def test_names_of_dropouts_find_what_they_read():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(inplace=True), nn.ReLU(), nn.Dropout())
    net = from_torch(module, (3, 9, 9))
    assert [net.index(name) for name in "0123"] == [1, 1, 2, 2]
    assert [module[1].inplace, module[3].inplace] == [True, False]
    assert not any("forward" in vars(each) for each in module)


class Branches(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_forward_that_branches_on_data_is_told(capfd):
    with pytest.raises(
        UnsupportedLayerError, match=r"from_torch: torch.export cannot follow the module on an image \(3, 5, 7\)"
    ) as caught:
        from_torch(nn.Sequential(nn.Conv2d(3, 4, 1), Branches()), (3, 5, 7))
    assert len(str(caught.value).splitlines()) == 1
    assert "data" in str(caught.value)
    assert capfd.readouterr().err == ""  # torch.export prints the module and its graph


def test_what_is_no_module_or_shape_is_told(monkeypatch):
    module = nn.Conv2d(3, 4, 3)
    with pytest.raises(InvalidValueError, match=r"must be a torch.nn.Module, not OrderedDict. Load the weights"):
        from_torch(module.state_dict(), (3, 5, 7))
    for wrong in [(3, 5), (1, 3, 5, 7), (3, 0, 7), "abc", (3.0, 5, 7), 3]:
        with pytest.raises(ShapeError, match=r"input_shape must be \(C, H, W\)"):
            from_torch(module, wrong)
    with pytest.raises(DecodingError, match="cannot follow"):
        from_torch(module, (4, 5, 7))
    with pytest.raises(InvalidValueError, match="meta"):
        from_torch(nn.Conv2d(3, 4, 3, device="meta"), (3, 5, 7))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidValueError, match=r'pip install "filter-decoding\[torch\]"'):
        from_torch(module, (3, 5, 7))


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


F = nn.functional
FUNCTIONS = {
    "add": lambda x: x + 2 * x, "minus": lambda x: 1 - x, "scaled": lambda x: (x * 3 - 2) / 4, "clamp": lambda x: x.clamp(-0.5, 1),
    "chunk": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), "index": lambda x: x[:, [2, 0, 1]], "slice": lambda x: x[:, 1:, ::2, 1::3], "select": lambda x: x[:, 1].unsqueeze(1),
    "stack": lambda x: torch.stack([x[:, 3], x[:, 0]], 1), "mean": lambda x: x.mean([2, 3]), "sum": lambda x: x.sum((-1, -2), keepdim=True), "amax": lambda x: x.amax((2, 3)),
    "pixel shuffle": lambda x: -F.pixel_shuffle(x, 2), "pixel unshuffle": lambda x: -F.pixel_unshuffle(x, 3), "channel shuffle": lambda x: -F.channel_shuffle(x, 2),
    "nearest": lambda x: F.interpolate(x, scale_factor=2), "nearest to": lambda x: F.interpolate(x, size=(12, 18)), "bilinear": lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"),
    "bilinear corners": lambda x: F.interpolate(x, size=(11, 13), mode="bilinear", align_corners=True),
    "pad": lambda x: F.pad(x, (1, 2, 0, 3), value=1.5), "reflect": lambda x: F.pad(x, (1, 2, 0, 3), mode="reflect"), "replicate": lambda x: F.pad(x, (1, 2, 0, 3), mode="replicate"),
    "gate": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)), "silu in pieces": lambda x: x * torch.sigmoid(x), "softmax": lambda x: x.softmax(1), "log softmax": lambda x: x.log_softmax(1),
    "layer norm": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2), "layer norm of all": lambda x: F.layer_norm(x, (4, 6, 9)), "transposed": lambda x: x.transpose(1, 3).softmax(-1).transpose(1, 3),
    "max": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), "average": lambda x: F.avg_pool2d(x, (3, 2), 2, 1, True, True), "average inside": lambda x: F.avg_pool2d(x, 3, 2, 1, False, False),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (3, 3)), "adaptive max": lambda x: F.adaptive_max_pool2d(x, (2, 3)), "expand": lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 6, 9), "dropout": lambda x: F.relu(F.dropout(x, training=False)),
    "relu6": F.relu6, "hardtanh": F.hardtanh, "elu": F.elu, "celu": lambda x: F.celu(x, 0.7), "selu": F.selu, "gelu": F.gelu, "gelu tanh": lambda x: F.gelu(x, approximate="tanh"), "mish": F.mish, "softplus": F.softplus,
    "layer norm in pieces": lambda x: (x - x.mean(1, keepdim=True)) / torch.sqrt((x - x.mean(1, keepdim=True)).pow(2).mean(1, keepdim=True) + 0.1),
    "standardized": lambda x: (x - x.mean((2, 3), keepdim=True)) * torch.rsqrt(x.var((2, 3), keepdim=True, unbiased=False) + 0.1), "deviation": lambda x: x.std((2, 3)),
    "of length 1": lambda x: F.normalize(x, dim=1), "global response": lambda x: torch.addcmul(x, x, x.norm(dim=(2, 3), keepdim=True) / (x.norm(dim=(2, 3), keepdim=True).mean(1, keepdim=True) + 0.1), value=0.5),
    "generalized mean": lambda x: x.clamp(min=0.1).pow(3).mean((2, 3)).pow(1 / 3), "enlarged by copies": lambda x: x.view(-1, 4, 6, 1, 9, 1).expand(-1, -1, -1, 2, -1, 3).reshape(-1, 4, 12, 27),
    "softsign": F.softsign, "leaky": lambda x: F.leaky_relu(x, 0.2), "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid, "tanh": torch.tanh, "exp": torch.exp,
}  # fmt: skip
MODULES = {
    "conv": lambda: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2), "same": lambda: nn.Conv2d(4, 3, (3, 2), padding="same"),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2), "prelu": lambda: nn.PReLU(4), "prelu of one": lambda: nn.PReLU(), "group norm": lambda: nn.GroupNorm(2, 4), "instance norm": lambda: nn.InstanceNorm2d(4, affine=True),
    "batch norm without weights": lambda: nn.BatchNorm2d(4, affine=False), "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(216, 5)), "linear of channels": lambda: Last(),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 3, 2)), "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 3, 2)),
}  # fmt: skip


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Cases(nn.Module):
    """All functions and modules beside each other: one export, of which each takes a fifth of a second, for all."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        made = {name: Call(function) for name, function in FUNCTIONS.items()}
        made |= {name: make() for name, make in MODULES.items()}
        self.cases = nn.ModuleDict(made).double()
        for each in self.modules():
            if isinstance(each, (nn.GroupNorm, nn.InstanceNorm2d)):
                each.weight.data.uniform_(0.5, 2)
                each.bias.data.uniform_(-1, 1)
        self.eval()

    def forward(self, x):
        return tuple(case(x) for case in self.cases.values())


@pytest.fixture(scope="module")
def cases():
    module = Cases()
    return module, from_torch(module, (4, 6, 9))


@pytest.mark.parametrize("case", [*FUNCTIONS, *MODULES])
def test_functions_and_modules(case, cases):
    module, net = cases
    x = torch.from_numpy(np.random.default_rng(1).uniform(-2, 2, (2, 4, 6, 9)))
    with torch.no_grad():
        want = module.cases[case](x).numpy()
    own = [name for name in net.names if re.fullmatch(rf"cases\.{case}(_\d+|_output|\..*)?", name)]
    got = net.forward(x.numpy(), own[-1])
    bound = 1e-6 if case in FUNCTIONS else 1e-9
    assert np.abs(got.reshape(want.shape) - want).max() <= bound * max(1, np.abs(want).max())


@pytest.mark.parametrize(("case", "kind"), {"layer norm in pieces": "LayerNorm", "standardized": "GroupNorm"}.items())
def test_norms_in_pieces_are_one_layer(case, kind, cases):
    made = [cases[1][name] for name in cases[1].names if re.fullmatch(rf"cases\.{case}(_\d+|\..*)?", name)]
    assert [layer.kind for layer in made] == [kind]
    assert made[0].epsilon == 0.1


def test_what_is_not_known_blocks_only_what_reads_it():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(4, 3, 1), nn.Conv2d(3, 2, 1)

        def forward(self, x):
            x = self.conv(x)
            return self.head(x.relu()), torch.fft.rfft(x).abs()

    net = from_torch(Odd(), (4, 6, 9))
    assert decoding.decode_layer(net, "head").shape == (2, 4, 1, 1)
    with pytest.raises(UnsupportedLayerError, match="has no decoding, or is not known here"):
        net.forward(np.zeros((1, 4, 6, 9)), len(net))


# torchvision's networks


architectures = pytest.importorskip("architectures")
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        architectures.torchvision()
    absent = ""
except ImportError:
    absent = "torchvision is not installed"
needs_torchvision = pytest.mark.skipif(bool(absent), reason=absent)
# Small images and fields always; whole ones, which take minutes, by night.
SMALL, WHOLE = (64, 120), (224, 520)
BY_NIGHT = [
    pytest.param(name, architectures.SIDES.get(name, WHOLE[0]), WHOLE[1], marks=pytest.mark.slow, id=name)
    for name in architectures.NAMES
]
ALWAYS = [pytest.param(name, *SMALL, id=f"{name}-small") for name in architectures.ALWAYS]


def by_exporter(rows, slowly=()):
    """Each row for the new exporter and for the old one."""
    for row in rows:
        name, *_ = row.values
        for new in (True, False):
            marks = pytest.mark.slow if new and name in slowly else row.marks
            yield pytest.param(*row.values, new, marks=marks, id=f"{row.id}-{'new' if new else 'old'} exporter")


# The new exporter takes five seconds for a network, the old one half of one: it always writes the smallest.
EXPORTED = [*by_exporter(ALWAYS, slowly=("resnet18", "shufflenet_v2_x0_5")), *by_exporter(BY_NIGHT)]


@functools.lru_cache(maxsize=len(architectures.ALWAYS))
def from_module(name, side):
    """A network in double precision, which several tests read."""
    return from_torch(architectures.make(name), (3, side, side))


@needs_torchvision
@pytest.mark.parametrize(("name", "side", "field"), ALWAYS + BY_NIGHT)
def test_architectures_run_and_decode_as_the_module_does(name, side, field):
    module, net = architectures.make(name), from_module(name, side)
    assert not any(isinstance(layer, decoding.Unsupported) for layer in net.layers)
    x = torch.from_numpy(np.random.default_rng(2).uniform(-1, 1, (1, 3, side, side)))
    with torch.no_grad():
        want = module(x).numpy().ravel()
    got = net.forward(x.numpy(), backend=decoding.fast).ravel()
    # GELU and the like differ in their last digits between libraries.
    assert np.abs(got - want).max() <= 1e-9 * np.abs(want).max()
    from torchvision.models.feature_extraction import get_graph_node_names

    dropped = (
        "dropout",
        "size",
        "getitem",
        "floordiv",
        "stochastic_depth",
        "layer_scale",
        "permute",
        "view",
        "transpose",
        "contiguous",
        "weight",
        "bias",
        "layer_norm",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [each for each in get_graph_node_names(module)[1][1:] if not any(word in each for word in dropped)]
    assert [each for each in theirs if each not in net.names and each not in net.aliases] == []
    check_gradients(net, architectures.linear(module), field)


def check_gradients(net, module, field):
    """The first, the middle and the last convolution whose field is not larger."""
    convolutions = [number for number, layer in enumerate(net.layers, 1) if isinstance(layer, decoding.Conv)]
    decodable, why = [], []
    for number in convolutions:
        try:
            net.check_weights(number)
        except UnsupportedLayerError as error:
            why.append(str(error))
            continue
        if net.names[number - 1].endswith((".fc1", ".fc2")):  # of a gate: its field is the whole of whatever image
            continue
        found = dict(module.named_modules()).get(net.names[number - 1])
        if isinstance(found, nn.Conv2d) and max(net.receptive_field(number).size) <= field:
            decodable.append(number)
    assert decodable
    assert all("gain" in each for each in why)
    picks = sorted({decodable[0], decodable[len(decodable) // 2], decodable[-1]})
    for number in picks:
        size, stride, offset = net.receptive_field(number)
        place = [-(offset[a] // stride[a]) if offset[a] < 0 else 0 for a in (0, 1)]
        first = [offset[a] + place[a] * stride[a] for a in (0, 1)]
        shape = (3, *(max(first[a] + size[a], 75) + 2 * stride[a] for a in (0, 1)))
        k = net.channels(number) // 2
        want = architectures.gradient(module, net.names[number - 1], k, place, shape)
        got = decoding.decode_filter(net, number, k, unpool="sum", backend=decoding.fast)
        seen = want[:, first[0] : first[0] + size[0], first[1] : first[1] + size[1]]
        assert np.abs(got - seen).max() <= 1e-9 * np.abs(want).max()
        assert np.abs(want).sum() - np.abs(seen).sum() <= 1e-9 * np.abs(want).sum()


@needs_torchvision
@pytest.mark.parametrize(("name", "side", "field", "new"), EXPORTED)
def test_exported_architectures_are_the_module(name, side, field, new, tmp_path):
    pytest.importorskip("onnx")
    if new:
        pytest.importorskip("onnxscript")
    module = architectures.make(name, torch.float32)
    x = torch.from_numpy(np.random.default_rng(2).uniform(-1, 1, (1, 3, side, side)).astype(np.float32))
    with torch.no_grad():
        want = module(x).numpy().ravel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), tmp_path / "net.onnx", dynamo=new, verbose=False)
    net, other = decoding.load_onnx(tmp_path / "net.onnx"), from_module(name, side)
    assert not any(isinstance(layer, decoding.Unsupported) for layer in net.layers)
    got = net.forward(x.numpy(), backend=decoding.fast).ravel()
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
    convolutions = [
        each for each, layer in zip(other.names, other.layers, strict=True) if isinstance(layer, decoding.Conv)
    ]
    assert [each for each in convolutions if each not in net.names] == []
    check_same_decoding(net, other, convolutions)


def check_same_decoding(net, other, convolutions):
    """A convolution of the file, into which a batch norm may have gone, is the batch norm of the module."""
    for layer in (convolutions[0], convolutions[len(convolutions) // 2]):
        number = other.index(layer)
        above = [n for n, below in enumerate(other.inputs, 1) if below == (number,)]
        folded = (
            above
            and isinstance(other.layers[above[0] - 1], decoding.BatchNorm)
            and not any(
                isinstance(net.layers[n - 1], decoding.BatchNorm)
                for n, below in enumerate(net.inputs, 1)
                if below == (net.index(layer),)
            )
        )
        top = above[0] if folded else number
        if any(other.layers[n - 1].needs_gain for n in decoding.walks.under(other, [top], other.paths)):
            continue
        want = decoding.decode_filter(other, top, 1, backend=decoding.fast)
        got = decoding.decode_filter(net, layer, 1, backend=decoding.fast)
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


@pytest.mark.filterwarnings("default")
def test_the_module_of_the_exported_resnet_decodes_as_its_files(real_data):
    """The four forms of one ResNet-20: the module, the file of either exporter, the file with its batch norms."""
    pytest.importorskip("onnx")
    folder = real_data / "nets-onnx"
    if not folder.exists():
        pytest.skip("there are no ONNX networks")
    import resnet20

    module = resnet20.ResNet20()
    state = torch.load(folder / "resnet20-cifar10.th", map_location="cpu", weights_only=True)["state_dict"]
    module.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    net = from_torch(module, (3, 32, 32))
    files = [decoding.load_onnx(folder / f"resnet20-cifar10{form}.onnx") for form in ("", "-legacy", "-unfolded")]
    assert files[2].names[:-1] == net.names[:-1]
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    answers = [each.forward(x, backend=decoding.fast) for each in (net, *files)]
    for answer in answers[1:]:
        assert np.abs(answer - answers[0]).max() <= 1e-5 * np.abs(answers[0]).max()
    for layer in ("layer1.0.bn2", "layer2.0.bn1", "layer3.0.bn1", "layer3.1.add"):
        banks = [
            decoding.decode_layer(
                each,
                layer if each in (net, files[2]) else layer.replace("bn", "conv"),
                units=range(4),
                backend=decoding.fast,
            )
            for each in (net, *files)
        ]
        for bank in banks[1:]:
            assert np.abs(bank - banks[0]).max() <= 1e-4 * np.abs(banks[0]).max()
