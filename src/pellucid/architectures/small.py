"""Networks to train from scratch: `small`, lean and quick on a CPU, and the fake-face tutorial's `small_tutorial`."""

from pellucid.architectures.layers import (
    Architecture,
    Conv,
    Dropout,
    Flatten,
    Linear,
    Pool,
    Probabilities,
    Relu,
    chain,
    classifier,
    conv,
)

HALVE = Pool("max", 2, stride=2)

# Batch norm and global pooling: any size from 8 pixels, and weights that do not grow with it. Two convolutions before
# the first pooling: a maximum forgets whether a detail sat on an even or an odd pixel, which is all that up-sampling
# leaves behind.
SMALL = Architecture(
    name="small",
    family="small",
    source="this project",
    size=96,
    dropout=0.1,
    rows=(
        # end point    layer                                                                   output at 96 px
        ("conv1",      conv(8, 3),                                                             "96x96x8"),
        ("conv2",      conv(16, 3),                                                            "96x96x16"),
        ("pool2",      HALVE,                                                                  "48x48x16"),
        ("conv3",      conv(32, 3),                                                            "48x48x32"),
        ("pool3",      HALVE,                                                                  "24x24x32"),
        ("conv4",      conv(64, 3),                                                            "24x24x64"),
        ("pool4",      HALVE,                                                                  "12x12x64"),
        ("conv5",      conv(128, 3),                                                           "12x12x128"),
        *classifier(128),
    ),
)  # fmt: skip


def plain(out: int, kernel: int) -> Conv:
    return conv(out, kernel, pad=0, bias=True, norm=False)


# The tutorial's own network to the last weight: convolutions without padding, one of them 4x4, and no dropout. Its
# linear layers fit one size of image: another `size` is another network.
SMALL_TUTORIAL = Architecture(
    name="small_tutorial",
    family="small",
    source="the fake-face tutorial: five convolutions, three linear layers, no batch norm",
    size=224,
    rows=(
        # end point    layer                                                                   output at 224 px
        ("conv1",      plain(15, 3),                                                           "222x222x15"),
        ("pool1",      HALVE,                                                                  "111x111x15"),
        ("conv2",      plain(75, 4),                                                           "108x108x75"),
        ("pool2",      HALVE,                                                                  "54x54x75"),
        ("conv3",      plain(150, 3),                                                          "52x52x150"),
        ("pool3",      HALVE,                                                                  "26x26x150"),
        ("conv4",      plain(300, 3),                                                          "24x24x300"),
        ("pool4",      HALVE,                                                                  "12x12x300"),
        ("conv5",      plain(300, 3),                                                          "10x10x300"),
        ("pool5",      HALVE,                                                                  "5x5x300"),
        ("fc6",        chain(flatten=Flatten(), linear=Linear(400), relu=Relu()),              "400"),
        ("fc7",        chain(linear=Linear(120), relu=Relu()),                                 "120"),
        ("PreLogits",  Dropout(),                                                              "120"),
        ("Logits",     Linear("classes"),                                                      "1000"),
        ("Predictions", Probabilities(),                                                       "1000"),
    ),
)  # fmt: skip
