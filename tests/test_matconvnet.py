import numpy as np
import pytest

from decoding import AvgPool, Conv, Dropout, MaxPool, Network, ReLU, Softmax, load_matconvnet, save_matconvnet


@pytest.fixture
def net(ramp):
    layers = [
        Conv(ramp(6, 2, 3, 2) / 7, ramp(6) / 3, stride=(2, 1), pad=(1, 0, 2, 3), name="edges"),
        ReLU(leak=0.1),
        MaxPool((3, 2), (2, 1), pad=(0, 1, 0, 1), name="pool"),
        Conv((ramp(4, 3, 1, 2) / 7).astype(np.float32), dilation=(1, 2), groups=2),
        Dropout(name="dropout"),
        AvgPool((1, 2)),
        Conv(ramp(3, 4, 1, 1), ramp(3)),
        Softmax(name="prob"),
    ]
    return Network(layers, mean=ramp(2, 11, 13) / 7, classes=["a", "β", "c d"], input_shape=(2, 11, 13))


def assert_equal(one, other):
    """Bit for bit."""
    assert (one.classes, one.input_shape, str(one)) == (other.classes, other.input_shape, str(other))
    assert (one.mean is None) == (other.mean is None)
    assert one.mean is None or (one.mean == other.mean).all()
    for a, b in zip(one.layers, other.layers, strict=True):
        assert type(a) is type(b)
        assert vars(a).keys() == vars(b).keys()
        for key, value in vars(a).items():
            if isinstance(value, np.ndarray):
                other_value = vars(b)[key]
                assert (value.dtype, value.shape) == (other_value.dtype, other_value.shape)
                assert value.tobytes() == other_value.tobytes()
            else:
                assert value == vars(b)[key]


def test_what_is_saved_is_read_back_bit_for_bit(net, tmp_path):
    save_matconvnet(net, tmp_path / "net.mat")
    assert_equal(load_matconvnet(tmp_path / "net.mat"), net)
