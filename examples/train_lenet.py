"""Train the LeNet that comes with the package
===========================================

It prints the error after each epoch, some 1 % of the test digits in the end, and writes a file that ``decoding.load`` reads. It needs
the extra ``train``, and MNIST's IDX files.

Network and recipe are MatConvNet's defaults for MNIST: the mean training image is subtracted from images of 0 to 255; weights start from
0.01 · N(0, 1) and biases from 0; momentum 0.9, weight decay 5e-4, learning rate 0.001, 20 epochs of batches of 100.

::

    python examples/train_lenet.py path/to/mnist -o lenet.mat
"""

import argparse
import time

import numpy as np

import decoding
from decoding.files import check_writable
from decoding.terminal import run

try:
    import torch
    from torch import nn
except ImportError:
    raise SystemExit('train_lenet.py needs PyTorch: pip install "filter-decoding[train]"') from None

BATCH = 100


def build(generator):
    net = nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(50, 500, 4),
        nn.ReLU(),
        nn.Conv2d(500, 10, 1),
        nn.Flatten(),
    )
    for parameter in net.parameters():
        if parameter.ndim == 4:
            nn.init.normal_(parameter, std=0.01, generator=generator)
        else:
            nn.init.zeros_(parameter)
    return net


def train(images, labels, seed, epochs):
    generator = torch.Generator().manual_seed(seed)
    net = build(generator)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    descent = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9, weight_decay=5e-4)
    start = time.monotonic()
    for epoch in range(1, epochs + 1):
        batches = torch.randperm(len(x), generator=generator).split(BATCH)
        total = 0.0
        for i, batch in enumerate(batches, 1):
            descent.zero_grad()
            loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
            loss.backward()
            descent.step()
            total += loss.item()
            if i % 20 == 0 or i == len(batches):
                minutes = (time.monotonic() - start) / 60
                text = f"epoch {epoch}/{epochs}, batch {i}/{len(batches)}, mean loss {total / i:.5f}, {minutes:.1f} min"
                print(f"\r{text:70}", end="", flush=True)
        print()
    return net


def as_network(net, mean):
    conv1, _, conv2, _, conv3, _, conv4, _ = net
    weights = [(conv.weight.detach().numpy(), conv.bias.detach().numpy()) for conv in (conv1, conv2, conv3, conv4)]
    return decoding.Network(
        [
            decoding.Conv(*weights[0], name="conv1"),
            decoding.MaxPool(2, name="pool1"),
            decoding.Conv(*weights[1], name="conv2"),
            decoding.MaxPool(2, name="pool2"),
            decoding.Conv(*weights[2], name="conv3"),
            decoding.ReLU(name="relu3"),
            decoding.Conv(*weights[3], name="conv4"),
            decoding.Softmax(name="prob"),
        ],
        mean=mean,
        classes=[str(digit) for digit in range(10)],
        input_shape=(1, 28, 28),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mnist", help="folder with MNIST's four IDX files")
    parser.add_argument("-o", "--output", default="lenet.mat", help="the network to write (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    check_writable(options.output)

    images, labels = decoding.mnist(options.mnist, "train")
    mean = images.mean(axis=0, dtype=np.float64).astype(np.float32)
    net = as_network(train(images.astype(np.float32) - mean, labels, options.seed, options.epochs), mean)
    decoding.save_matconvnet(net, options.output)

    images, labels = decoding.mnist(options.mnist, "test")
    wrong = net.forward(net.normalize(images)).argmax(axis=1).ravel() != labels
    print(f"{options.output}: wrong on {wrong.sum()} of {len(labels)} test digits ({wrong.mean():.2%})")


if __name__ == "__main__":
    raise SystemExit(run("train_lenet.py", main))
