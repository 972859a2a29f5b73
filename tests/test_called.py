"""End points by other libraries' names."""

import pytest

from pellucid.networks.called import end_point_called


@pytest.mark.parametrize(
    ("network", "theirs", "ours"),
    [
        ("resnet18", "layer3", "conv4_x"),  # torchvision's and timm's: layer1 to layer4 are conv2_x to conv5_x
        ("resnet50", "layer1", "conv2_x"),
        ("resnet18", "fc", "Logits"),
        ("inception_v1", "inception4a", "Mixed_4b"),
        ("inception_v3", "InceptionV3/Mixed_7a", "Mixed_7a"),  # TF-Slim's
        ("resnet18", "conv4_x", "conv4_x"),
        ("resnet18", "layer3.0", "layer3.0"),  # a part of an end point is none
        ("resnet18", "layer9", "layer9"),
        ("resnet18", "layer", "layer"),
        ("timm/mobilenetv2_100", "blocks.3", "blocks.3"),
    ],
)
def test_an_end_point_is_found_by_the_name_that_another_library_has_for_it(
    network: str, theirs: str, ours: str
) -> None:
    assert end_point_called(network, theirs) == ours
