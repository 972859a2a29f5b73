"""What each source's weights want to see of an image: the record of a source and a network, and who says so.

A network computes with whatever reaches it, and says nothing: 8 of 10 photographs may still be right. What no record
knows is asked for (see published.preprocessing_for).
"""

from dataclasses import dataclass

from pellucid.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Channels, Triple


@dataclass(frozen=True)
class Wanted:
    """The order of the channels; what is taken from red, green and blue, scaled to 0..1, and what divides the rest."""

    channels: Channels
    mean: Triple
    std: Triple
    origin: str


HALF: Triple = (0.5, 0.5, 0.5)
# Of 0 to 255 the means are taken and nothing is divided: so were the networks of Oxford and of Microsoft trained, in
# Caffe, which reads blue first.
CAFFE_MEAN: Triple = (123.68 / 255, 116.779 / 255, 103.939 / 255)
LEVELS: Triple = (1 / 255, 1 / 255, 1 / 255)

_TORCHVISION = Wanted("RGB", IMAGENET_MEAN, IMAGENET_STD, "torchvision's ImageClassification transforms")
# Ported from TensorFlow: torchvision turns ImageNet's statistics back into -1 to 1 (transform_input).
_PORTED = Wanted("RGB", HALF, HALF, "torchvision's transform_input")
# Two of timm's many sets of weights were trained otherwise: their names are others' too, and only who asks for
# timm/NAME.TAG is told by timm itself.
OTHERWISE = ("resnet34.ra4_e3600_r224_in1k", "inception_v3.gluon_in1k")
_TIMM = Wanted("RGB", IMAGENET_MEAN, IMAGENET_STD, "timm's default_cfgs")
_TIMM_INCEPTION = Wanted("RGB", HALF, HALF, "timm's default_cfgs")
_CAFFE = Wanted("BGR", CAFFE_MEAN, LEVELS, "keras.applications' preprocess_input, mode caffe")
_KERAS_TF = Wanted("RGB", HALF, HALF, "keras.applications' preprocess_input, mode tf")
_SLIM = Wanted("RGB", HALF, HALF, "TF-Slim's inception_preprocessing")
_PADDLE = Wanted(
    "RGB", IMAGENET_MEAN, IMAGENET_STD, "PaddleClas' NormalizeImage, with which paddle.vision's were trained"
)

# By source and family of networks.
WANTED: dict[tuple[str, str], Wanted] = {
    ("torchvision", "resnet"): _TORCHVISION,
    ("torchvision", "vgg"): _TORCHVISION,
    ("torchvision", "inception_v1"): _PORTED,
    ("torchvision", "inception_v3"): _PORTED,
    ("timm", "resnet"): _TIMM,
    ("timm", "vgg"): _TIMM,
    ("timm", "inception_v3"): _TIMM_INCEPTION,
    ("timm", "inception_v4"): _TIMM_INCEPTION,
    ("timm", "inception_resnet_v2"): _TIMM_INCEPTION,
    ("keras", "resnet"): _CAFFE,
    ("keras", "vgg"): _CAFFE,
    ("keras", "inception_v3"): _KERAS_TF,
    ("keras", "inception_resnet_v2"): _KERAS_TF,
    ("tf-slim", "inception_v1"): _SLIM,
    ("tf-slim", "inception_v2"): _SLIM,
    ("tf-slim", "inception_v3"): _SLIM,
    ("tf-slim", "inception_v4"): _SLIM,
    ("tf-slim", "inception_resnet_v2"): _SLIM,
    ("paddle", "resnet"): _PADDLE,
    ("paddle", "vgg"): _PADDLE,
    ("paddle", "inception_v1_plain"): _PADDLE,
    ("paddle", "inception_v3"): _PADDLE,
}
