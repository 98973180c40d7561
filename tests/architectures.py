"""torchvision's networks with random weights from a seed, and the linear network whose gradient decoding computes, as torch modules."""

import contextlib
import copy
from unittest import mock

import torch
from torch import nn

NAMES = (
    "resnet18", "squeezenet1_1", "shufflenet_v2_x0_5", "resnet50", "vgg11_bn", "alexnet", "googlenet", "inception_v3", "densenet121",
    "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "regnet_x_400mf", "regnet_y_400mf", "mnasnet0_5", "convnext_tiny",
)  # fmt: skip
ALWAYS = NAMES[:3]
SIDES = {"inception_v3": 299}
_definitions = []


def torchvision():
    """The package, also where its compiled operators, which none of these networks needs, do not fit this torch."""
    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _definitions.append(library)
        import torchvision
    return torchvision


def make(name, dtype=torch.float64):
    """A network whose weights, statistics of batch norms included, come from a seed; in eval mode."""
    torch.manual_seed(0)
    options = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    module = torchvision().models.get_model(name, weights=None, **options)
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            for array, low, high in (
                (each.running_mean, -0.1, 0.1),
                (each.running_var, 0.5, 2),
                (each.weight.data, 0.5, 1.5),
            ):
                array.uniform_(low, high)
            each.bias.data.uniform_(-0.1, 0.1)
    return module.to(dtype).eval()


class SumPool(nn.Module):
    """The sum of each window: what a pool is in the linear network of ``unpool="sum"``."""

    def __init__(self, pool):
        super().__init__()
        self.pool = pool

    def forward(self, x):
        p = self.pool
        return window_sum(x, p.kernel_size, p.stride, p.padding, ceil_mode=p.ceil_mode)


average = nn.functional.avg_pool2d


def window_sum(x, kernel_size, stride=None, padding=0, *rest, ceil_mode=False, **options):
    return average(x, kernel_size, stride, padding, ceil_mode, True, 1)


FUNCTIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.GELU, nn.Dropout)


def linear(module):
    """The module without biases, functions for the identity, pools for sums."""
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, FUNCTIONS):
                setattr(parent, name, nn.Identity())
            elif isinstance(child, (nn.MaxPool2d, nn.AvgPool2d)):
                setattr(parent, name, SumPool(child))
    for each in module.modules():
        if getattr(each, "bias", None) is not None:
            each.bias.data.zero_()
        if isinstance(each, nn.BatchNorm2d):
            each.running_mean.zero_()
    return module


class Reached(Exception):
    pass


def gradient(module, layer, k, place, shape):
    """The gradient of one response of the module called `layer` with respect to the image."""
    x, kept = torch.zeros(1, *shape, dtype=torch.float64, requires_grad=True), []

    def stop(_, __, output):
        kept.append(output)
        raise Reached

    handle = module.get_submodule(layer).register_forward_hook(stop)
    same, pool = (lambda x, *a, **k: x), window_sum
    functional = "torch.nn.functional."
    with contextlib.ExitStack() as stack:
        for name, to in {"relu": same, "dropout": same, "max_pool2d": pool, "avg_pool2d": pool}.items():
            stack.enter_context(mock.patch(functional + name, to))
        stack.enter_context(contextlib.suppress(Reached))
        module(x)
    handle.remove()
    kept[0][0, k, place[0], place[1]].backward()
    return x.grad[0].numpy()
