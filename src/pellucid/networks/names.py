"""What others call the tensors of the networks here: for each family and source, a reader of our names.

Ours are the end point, the steps inside, and the tensor: Mixed_5b.Branch_1.Conv2d_0b_5x5.conv.weight.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

Shapes = Mapping[str, tuple[int, ...]]  # of our tensors, by name, in order
Pairs = Iterator[tuple[str, str]]  # our name, theirs

# Networks that a library calls by another name.
ELSEWHERE = {("torchvision", "inception_v1"): "googlenet"}

SLIM_SCOPES = {
    "inception_v1": "InceptionV1",
    "inception_v2": "InceptionV2",
    "inception_v3": "InceptionV3",
    "inception_v4": "InceptionV4",
    "inception_resnet_v2": "InceptionResnetV2",
}
SLIM_TENSORS = {
    "conv.weight": "weights",
    "conv.bias": "biases",
    "norm.weight": "BatchNorm/gamma",
    "norm.bias": "BatchNorm/beta",
    "norm.running_mean": "BatchNorm/moving_mean",
    "norm.running_var": "BatchNorm/moving_variance",
    "norm.num_batches_tracked": "BatchNorm/num_batches_tracked",  # which no file has
    "depthwise.weight": "depthwise_weights",
    "pointwise.weight": "pointwise_weights",
    "pointwise.bias": "biases",
    "weight": "weights",
    "bias": "biases",
}
SLIM_LOGITS = {
    "InceptionV1": "Logits/Conv2d_0c_1x1",
    "InceptionV2": "Logits/Conv2d_1c_1x1",
    "InceptionV3": "Logits/Conv2d_1c_1x1",
    "InceptionV4": "Logits/Logits",
    "InceptionResnetV2": "Logits/Logits",
}
# Where TF-Slim's own names break its rules: ours, and what it says.
SLIM_EXCEPTIONS = {
    "InceptionV1": {"Mixed_5b/Branch_2/Conv2d_0b_3x3": "Mixed_5b/Branch_2/Conv2d_0a_3x3"},
    "InceptionV3": {
        "Mixed_5c/Branch_1/Conv2d_0a_1x1": "Mixed_5c/Branch_1/Conv2d_0b_1x1",
        "Mixed_5c/Branch_1/Conv2d_0b_5x5": "Mixed_5c/Branch_1/Conv_1_0c_5x5",
        "Mixed_6a/Branch_0/Conv2d_1a_3x3": "Mixed_6a/Branch_0/Conv2d_1a_1x1",
        "Mixed_6a/Branch_1/Conv2d_1a_3x3": "Mixed_6a/Branch_1/Conv2d_1a_1x1",
        "Mixed_7b/Branch_1/Conv2d_0c_3x1": "Mixed_7b/Branch_1/Conv2d_0b_3x1",
    },
    "InceptionV4": {
        "Mixed_3a/Branch_1/Conv2d_1a_3x3": "Mixed_3a/Branch_1/Conv2d_0a_3x3",
        "Mixed_4a/Branch_0/Conv2d_0b_3x3": "Mixed_4a/Branch_0/Conv2d_1a_3x3",
        "Mixed_4a/Branch_1/Conv2d_0d_3x3": "Mixed_4a/Branch_1/Conv2d_1a_3x3",
    },
    "InceptionResnetV2": {"Mixed_5b/Branch_0/Conv2d_0a_1x1": "Mixed_5b/Branch_0/Conv2d_1x1"},
}


def slim(ours: Shapes, family: str) -> Pairs:
    """TF-Slim's variables: InceptionV3/Mixed_5b/Branch_1/Conv2d_0b_5x5/BatchNorm/beta."""
    scope = SLIM_SCOPES[family]
    for name in ours:
        place, tensor = _split(name, SLIM_TENSORS)
        parts = [part for part in place.split(".") if part != "mixed" and not part.startswith("Fan_")]
        if len(parts) > 1 and parts[1].startswith(("Repeat", "Block8", "Mixed_6a", "Conv2d_7b")):
            parts = parts[1:]  # stacks of blocks have scopes of their own
        theirs = "/".join(parts)
        if parts[0] == "Logits":
            theirs = SLIM_LOGITS[scope]
        elif "block" in theirs.lower():
            theirs = theirs.replace("Branch_0/Conv2d_0a_1x1", "Branch_0/Conv2d_1x1")
        elif parts[-1] == "Conv2d_2a_5x5" and parts[0] == "AuxLogits" and scope == "InceptionV3":
            height, width = ours[f"{place}.conv.weight"][2:]  # named after the kernel as cut to its map
            theirs = f"AuxLogits/Conv2d_2a_{height}x{width}"
        yield name, f"{scope}/{SLIM_EXCEPTIONS.get(scope, {}).get(theirs, theirs)}/{SLIM_TENSORS[tensor]}"


BASIC = {
    "conv.weight": "conv.weight",
    "conv.bias": "bias",
    "norm.weight": "bn.weight",
    "norm.bias": "bn.bias",
    "norm.running_mean": "bn.running_mean",
    "norm.running_var": "bn.running_var",
    "norm.num_batches_tracked": "bn.num_batches_tracked",
    "weight": "weight",
    "bias": "bias",
}
# torchvision's names of an Inception V3 block's branches; timm's are the same.
V3_BRANCHES = {
    "Mixed_5": ("branch1x1", "branch5x5", "branch3x3dbl", "branch_pool"),
    "Mixed_6a": ("branch3x3", "branch3x3dbl"),
    "Mixed_6": ("branch1x1", "branch7x7", "branch7x7dbl", "branch_pool"),
    "Mixed_7a": ("branch3x3", "branch7x7x3"),
    "Mixed_7": ("branch1x1", "branch3x3", "branch3x3dbl", "branch_pool"),
}
V3_HEAD = {"Conv2d_1b_1x1": "conv0", "Conv2d_2a_5x5": "conv1", "Conv2d_2b_1x1": "fc"}


def inception_v3(ours: Shapes, _layout: str) -> Pairs:
    """Mixed_7b.Branch_1.Fan_0b.Conv2d_0c_3x1.conv.weight is Mixed_7b.branch3x3_2b.conv.weight."""
    steps = _steps(ours)
    for name in ours:
        place, tensor = _split(name, BASIC)
        end_point, *inside = place.split(".")
        if end_point == "Logits":
            theirs = "fc"
        elif end_point == "AuxLogits":
            theirs = f"AuxLogits.{V3_HEAD[inside[0]]}"
        elif inside:
            branches = next(names for block, names in V3_BRANCHES.items() if end_point.startswith(block))
            step, branch = steps[place], branches[int(inside[0][-1])]
            bare = step.alone or branch == "branch_pool"
            theirs = f"{end_point}.{branch}" + ("" if bare else f"_{step.position + 1}{step.side}")
        else:
            theirs = end_point
        yield name, f"{theirs}.{BASIC[tensor]}"


def inception_v1(ours: Shapes, _layout: str) -> Pairs:
    """torchvision's GoogLeNet: Mixed_4b.Branch_1.Conv2d_0b_3x3.conv.weight is inception4a.branch2.1.conv.weight."""
    stem = {"Conv2d_1a_7x7": "conv1", "Conv2d_2b_1x1": "conv2", "Conv2d_2c_3x3": "conv3", "Logits": "fc"}
    stem |= {"AuxLogits_1": "aux1", "AuxLogits_2": "aux2"}
    steps = _steps(ours)
    for name in ours:
        place, tensor = _split(name, BASIC)
        end_point, *inside = place.split(".")
        if end_point in stem:
            theirs = ".".join([stem[end_point], *inside])
        else:
            number, letter = end_point[-2], end_point[-1]
            branch = f"branch{int(inside[0][-1]) + 1}"
            theirs = f"inception{number}{chr(ord(letter) - 1)}.{branch}{steps[place].in_sequence}"
        yield name, f"{theirs}.{BASIC[tensor]}"


def inception_v4(ours: Shapes, _layout: str) -> Pairs:
    """timm's: blocks are numbered; Mixed_5b.Branch_1.Conv2d_0b_3x3.conv.weight is features.6.branch1.1.conv.weight."""
    end_points = list(dict.fromkeys(name.split(".")[0] for name in ours))
    steps = _steps(ours)
    for name in ours:
        place, tensor = _split(name, BASIC)
        end_point, *inside = place.split(".")
        theirs = "last_linear" if end_point == "Logits" else f"features.{end_points.index(end_point)}"
        if end_point in ("Mixed_3a", "Mixed_5a"):
            theirs += ".conv"  # its only one
        elif inside and end_point != "AuxLogits":
            step, branch = steps[place], f"branch{inside[0][-1]}"
            fanned = end_point in ("Mixed_7b", "Mixed_7c", "Mixed_7d") and branch in ("branch1", "branch2")
            theirs += f".{branch}" + (f"_{step.position}{step.side}" if fanned else step.in_sequence)
        yield name, f"{theirs}.{BASIC[tensor]}"


def inception_resnet_v2(ours: Shapes, _layout: str) -> Pairs:
    """timm's: PreAuxLogits.Repeat_1.block17_3.mixed.Branch_1.Conv2d_0b_1x7 is repeat_1.2.branch1.1."""
    steps = _steps(ours)
    for name in ours:
        place, tensor = _split(name, BASIC)
        outer, _, inside = place.replace(".mixed", "").partition(".Branch_")
        theirs = re.sub(r"^\w+\.(?=Repeat|Block8|Mixed_6a|Conv2d_7b)", "", outer)
        theirs = re.sub(r"(Repeat\w*)\.block\d+_(\d+)", lambda at: f"{at[1]}.{int(at[2]) - 1}", theirs)
        bare = theirs.endswith(".Conv2d_1x1")  # back to as many channels as came in, without a norm
        theirs = theirs.replace(".Conv2d_1x1", ".conv2d").lower()
        theirs = re.sub(r"(conv2d_\d\w)_\dx\d", r"\1", theirs).replace("logits", "classif")
        if inside:
            theirs += f".branch{inside[0]}{steps[place].in_sequence}"
        yield name, f"{theirs}.{tensor.removeprefix('conv.') if bare else BASIC[tensor]}"


def resnet(ours: Shapes, _layout: str) -> Pairs:
    """torchvision's names; timm has the same. conv3_x.unit_2.conv1.norm.weight is layer2.1.bn1.weight."""
    for name in ours:
        theirs = re.sub(r"^conv(\d)_x\.unit_(\d+)\.", lambda at: f"layer{int(at[1]) - 1}.{int(at[2]) - 1}.", name)
        theirs = theirs.replace("shortcut.conv", "downsample.0").replace("shortcut.norm", "downsample.1")
        theirs = re.sub(r"conv(\d)\.conv\.", r"conv\1.", theirs)
        theirs = re.sub(r"conv(\d)\.norm\.", r"bn\1.", theirs)
        yield name, theirs.replace("Logits.", "fc.")


def vgg(ours: Shapes, layout: str) -> Pairs:
    """One numbered list of convolution, norm, ReLU and pooling; timm writes the first linear layers as convolutions."""
    linear = {
        "torchvision": ("classifier.0.", "classifier.3.", "classifier.6."),
        "timm": ("pre_logits.fc1.", "pre_logits.fc2.", "head.fc."),
    }[layout]
    heads = dict(zip(("fc6.linear.", "fc7.linear.", "Logits."), linear, strict=True))
    normed = any(".norm." in name for name in ours)
    place, stage, number = -1, "", -1
    convolution = ""
    for name in ours:
        if found := next((head for head in heads if name.startswith(head)), None):
            yield name, heads[found] + name.removeprefix(found)
            continue
        here, part, kind, leaf = name.split(".")
        if (here, part) != (stage, convolution):
            # The first comes at 0; then over ReLU, norm where there is one, and the pooling between stages.
            number = 0 if place < 0 else place + 2 + normed + (here != stage)
            place, stage, convolution = number, here, part
        yield name, f"features.{number + (kind == 'norm')}.{leaf}"


# For each family, the sources whose names are known, and how to find them; those of auxiliary heads begin with `HEADS`.
NAMES: dict[str, dict[str, Callable[[Shapes, str], Pairs]]] = {
    "resnet": {"torchvision": resnet, "timm": resnet},
    "vgg": {"torchvision": vgg, "timm": vgg},
    "inception_v1": {"torchvision": inception_v1, "tf-slim": lambda ours, _: slim(ours, "inception_v1")},
    "inception_v2": {"tf-slim": lambda ours, _: slim(ours, "inception_v2")},
    "inception_v3": {
        "torchvision": inception_v3,
        "timm": inception_v3,
        "tf-slim": lambda ours, _: slim(ours, "inception_v3"),
    },
    "inception_v4": {"timm": inception_v4, "tf-slim": lambda ours, _: slim(ours, "inception_v4")},
    "inception_resnet_v2": {
        "timm": inception_resnet_v2,
        "tf-slim": lambda ours, _: slim(ours, "inception_resnet_v2"),
    },
}
HEADS = re.compile(r"^(\w+/)?(AuxLogits|aux\d)\b")


def _split(name: str, tensors: Mapping[str, str]) -> tuple[str, str]:
    """The place and the tensor of one of our names: what the table of tensors knows, the longer the better."""
    for words in (2, 1):
        parts = name.rsplit(".", words)
        tensor = ".".join(parts[1:])
        if tensor in tensors:
            return parts[0], tensor
    raise AssertionError(f"{name} is no tensor of a table network")


@dataclass(frozen=True)
class _Step:
    """Where a convolution stands in its branch. `side`: a or b, where two stand side by side."""

    position: int
    alone: bool
    side: str

    @property
    def in_sequence(self) -> str:
        """As torch's Sequential names it; a step alone needs none."""
        return "" if self.alone else f".{self.position}"


def _steps(ours: Shapes) -> dict[str, _Step]:
    """The step of every convolution in a branch, by its place."""
    places = dict.fromkeys(_split(name, BASIC)[0] for name in ours if ".Branch_" in name)
    branches: dict[str, list[str]] = {}
    for place in places:
        branch, step = re.match(r"(.*\.Branch_\d)\.(\w+)", place).groups()  # type: ignore[union-attr]
        steps = branches.setdefault(branch, [])
        if step not in steps:
            steps.append(step)
    found = {}
    for place in places:
        branch, step = re.match(r"(.*\.Branch_\d)\.(\w+)(?:\.\w+)?", place).groups()  # type: ignore[union-attr]
        steps = branches[branch]
        pooled = steps[0] == "Conv2d_0b_1x1"  # what comes first has no weights
        side = ""
        if place != f"{branch}.{step}":
            side = "ab"[[other for other in places if other.startswith(f"{branch}.{step}.")].index(place)]
        found[place] = _Step(steps.index(step) + pooled, len(steps) == 1 and not pooled, side)
    return found
