"""Train the residual network that comes with the package
======================================================

It prints the error after each epoch, and writes a file that ``decoding.load`` reads. It needs the extra ``train``, and MNIST's IDX
files.

It is a small residual network (He et al., 2016) whose batch norms are not folded into convolutions. It has three stages of two blocks,
of 12, 24 and 48 channels; the second and the third stage begin with stride 2 and a projection shortcut. The mean of all training
pixels is subtracted from images of 0 to 255, which are then divided by the standard deviation; digits are shifted by up to 2
pixels at random. Weights start from N(0, 2 / fan-out); Nesterov momentum 0.9, weight decay 5e-4, one cycle of the learning rate up
to 0.1, 8 epochs of batches of 128.

::

    python examples/train_resnet.py path/to/mnist -o resnet.mat
"""

import argparse
import math
import time

import numpy as np

import decoding
from decoding.files import check_writable
from decoding.terminal import run

try:
    import torch
    from torch import nn
except ImportError:
    raise SystemExit('train_resnet.py needs PyTorch: pip install "filter-decoding[train]"') from None

BATCH = 128
SHIFT = 2
WIDTHS = (12, 24, 48)
BLOCKS = 2


class Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.projects = stride > 1 or before != after
        if self.projects:
            self.shortcut = nn.Conv2d(before, after, 1, stride=stride, bias=False)
            self.shortcut_bn = nn.BatchNorm2d(after)

    def forward(self, x):
        residual = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (residual + (self.shortcut_bn(self.shortcut(x)) if self.projects else x)).relu()


class ResNet(nn.Module):
    """The modules have the names of the layers: block2.0.conv1 is the first convolution of the second stage."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        before = WIDTHS[0]
        for stage, width in enumerate(WIDTHS, 1):
            strides = [1 if stage == 1 else 2] + [1] * (BLOCKS - 1)
            widths = [before] + [width] * (BLOCKS - 1)
            blocks = [Block(w, width, stride) for w, stride in zip(widths, strides, strict=True)]
            setattr(self, f"block{stage}", nn.Sequential(*blocks))
            before = width
        self.pool = nn.AvgPool2d(7)
        self.fc = nn.Conv2d(before, 10, 1)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        for stage in range(1, len(WIDTHS) + 1):
            x = getattr(self, f"block{stage}")(x)
        return self.fc(self.pool(x)).flatten(1)


def build(generator):
    net = ResNet()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
    nn.init.zeros_(net.fc.bias)
    return net


def shifted(padded, batch, generator):
    """The images of a batch, each shifted by a random number of rows and columns; what is shifted in is black."""
    size = padded.shape[-1] - 2 * SHIFT
    corners = torch.randint(0, 2 * SHIFT + 1, (2, len(batch), 1), generator=generator)
    rows, columns = corners + torch.arange(size)
    return padded[batch[:, None, None], rows[:, :, None], columns[:, None, :]][:, None]


def train(images, labels, mean, std, seed, epochs):
    generator = torch.Generator().manual_seed(seed)
    net = build(generator)
    padded = torch.from_numpy(np.pad(images[:, 0], ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT))))
    y = torch.from_numpy(labels)
    mean, std = torch.from_numpy(mean), torch.from_numpy(std)
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = epochs * math.ceil(len(padded) / BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(descent, max_lr=0.1, total_steps=steps, cycle_momentum=False)
    start = time.monotonic()
    for epoch in range(1, epochs + 1):
        batches = torch.randperm(len(padded), generator=generator).split(BATCH)
        total = 0.0
        for i, batch in enumerate(batches, 1):
            x = (shifted(padded, batch, generator) - mean) / std
            descent.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y[batch])
            loss.backward()
            descent.step()
            cycle.step()
            total += loss.item()
            if i % 20 == 0 or i == len(batches):
                minutes = (time.monotonic() - start) / 60
                text = f"epoch {epoch}/{epochs}, batch {i}/{len(batches)}, mean loss {total / i:.5f}, {minutes:.1f} min"
                print(f"\r{text:70}", end="", flush=True)
        print()
    return net.eval()


def as_network(net, mean, std):
    """The same network as layers of this package; the `std` of a batch norm is sqrt(variance + epsilon)."""
    layers, inputs = [], []

    def add(layer, *below):
        layers.append(layer)
        inputs.append(below)
        return len(layers)

    def conv(name, below):
        module = net.get_submodule(name)
        filters, bias = module.weight.detach().numpy(), module.bias
        bias = None if bias is None else bias.detach().numpy()
        return add(decoding.Conv(filters, bias, stride=module.stride, pad=module.padding[0], name=name), below)

    def norm(name, below):
        module = net.get_submodule(name)
        scale, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
        moments = {"mean": module.running_mean.numpy(), "std": (module.running_var + module.eps).sqrt().numpy()}
        moments["epsilon"] = module.eps
        return add(decoding.BatchNorm(scale, bias, **moments, name=name), below)

    def relu(name, below):
        return add(decoding.ReLU(name=name), below)

    top = relu("relu1", norm("bn1", conv("conv1", 0)))
    for name, block in net.named_modules():
        if isinstance(block, Block):
            residual = relu(f"{name}.relu1", norm(f"{name}.bn1", conv(f"{name}.conv1", top)))
            residual = norm(f"{name}.bn2", conv(f"{name}.conv2", residual))
            if block.projects:
                top = norm(f"{name}.shortcut_bn", conv(f"{name}.shortcut", top))
            top = relu(f"{name}.relu2", add(decoding.Sum(name=f"{name}.sum"), residual, top))
    conv("fc", add(decoding.AvgPool(net.pool.kernel_size, name="pool"), top))
    return decoding.Network(
        layers,
        inputs=inputs,
        mean=mean,
        std=std,
        classes=[str(digit) for digit in range(10)],
        input_shape=(1, 28, 28),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mnist", help="folder with MNIST's four IDX files")
    parser.add_argument("-o", "--output", default="resnet.mat", help="the network to write (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    check_writable(options.output)

    images, labels = decoding.mnist(options.mnist, "train")
    mean, std = (np.array([moment(images, dtype=np.float64)], np.float32) for moment in (np.mean, np.std))
    net = as_network(train(images, labels, mean, std, options.seed, options.epochs), mean, std)
    decoding.save_matconvnet(net, options.output)

    images, labels = decoding.mnist(options.mnist, "test")
    wrong = net.forward(net.normalize(images), backend=decoding.fast).argmax(axis=1).ravel() != labels
    print(f"{options.output}: wrong on {wrong.sum()} of {len(labels)} test digits ({wrong.mean():.2%})")


if __name__ == "__main__":
    raise SystemExit(run("train_resnet.py", main))
