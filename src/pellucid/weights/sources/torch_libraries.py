"""The names of torchvision and timm, for each family."""

import re

from pellucid.weights.sources.common import BASIC, Pairs, Shapes, split, steps_of

# torchvision's names of an Inception V3 block's branches; timm's are the same.
V3_BRANCHES = {
    "Mixed_5": ("branch1x1", "branch5x5", "branch3x3dbl", "branch_pool"),
    "Mixed_6a": ("branch3x3", "branch3x3dbl"),
    "Mixed_6": ("branch1x1", "branch7x7", "branch7x7dbl", "branch_pool"),
    "Mixed_7a": ("branch3x3", "branch7x7x3"),
    "Mixed_7": ("branch1x1", "branch3x3", "branch3x3dbl", "branch_pool"),
}
V3_HEAD = {"Conv2d_1b_1x1": "conv0", "Conv2d_2a_5x5": "conv1", "Conv2d_2b_1x1": "fc"}


def inception_v3(ours: Shapes) -> Pairs:
    """Mixed_7b.Branch_1.Fan_0b.Conv2d_0c_3x1.conv.weight is Mixed_7b.branch3x3_2b.conv.weight."""
    steps = steps_of(ours)
    for name in ours:
        place, tensor = split(name, BASIC)
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


def inception_v1(ours: Shapes) -> Pairs:
    """torchvision's GoogLeNet: Mixed_4b.Branch_1.Conv2d_0b_3x3.conv.weight is inception4a.branch2.1.conv.weight."""
    stem = {"Conv2d_1a_7x7": "conv1", "Conv2d_2b_1x1": "conv2", "Conv2d_2c_3x3": "conv3", "Logits": "fc"}
    stem |= {"AuxLogits_1": "aux1", "AuxLogits_2": "aux2"}
    steps = steps_of(ours)
    for name in ours:
        place, tensor = split(name, BASIC)
        end_point, *inside = place.split(".")
        if end_point in stem:
            theirs = ".".join([stem[end_point], *inside])
        else:
            number, letter = end_point[-2], end_point[-1]
            branch = f"branch{int(inside[0][-1]) + 1}"
            theirs = f"inception{number}{chr(ord(letter) - 1)}.{branch}{steps[place].in_sequence}"
        yield name, f"{theirs}.{BASIC[tensor]}"


def inception_v4(ours: Shapes) -> Pairs:
    """timm's: blocks are numbered; Mixed_5b.Branch_1.Conv2d_0b_3x3.conv.weight is features.6.branch1.1.conv.weight."""
    end_points = list(dict.fromkeys(name.split(".")[0] for name in ours))
    steps = steps_of(ours)
    for name in ours:
        place, tensor = split(name, BASIC)
        end_point, *inside = place.split(".")
        theirs = "last_linear" if end_point == "Logits" else f"features.{end_points.index(end_point)}"
        if end_point in ("Mixed_3a", "Mixed_5a"):
            theirs += ".conv"  # its only one
        elif inside and end_point != "AuxLogits":
            step, branch = steps[place], f"branch{inside[0][-1]}"
            fanned = end_point in ("Mixed_7b", "Mixed_7c", "Mixed_7d") and branch in ("branch1", "branch2")
            theirs += f".{branch}" + (f"_{step.position}{step.side}" if fanned else step.in_sequence)
        yield name, f"{theirs}.{BASIC[tensor]}"


def inception_resnet_v2(ours: Shapes) -> Pairs:
    """timm's: PreAuxLogits.Repeat_1.block17_3.mixed.Branch_1.Conv2d_0b_1x7 is repeat_1.2.branch1.1."""
    steps = steps_of(ours)
    for name in ours:
        place, tensor = split(name, BASIC)
        outer, _, inside = place.replace(".mixed", "").partition(".Branch_")
        theirs = re.sub(r"^\w+\.(?=Repeat|Block8|Mixed_6a|Conv2d_7b)", "", outer)
        theirs = re.sub(r"(Repeat\w*)\.block\d+_(\d+)", lambda at: f"{at[1]}.{int(at[2]) - 1}", theirs)
        bare = theirs.endswith(".Conv2d_1x1")  # back to as many channels as came in, without a norm
        theirs = theirs.replace(".Conv2d_1x1", ".conv2d").lower()
        theirs = re.sub(r"(conv2d_\d\w)_\dx\d", r"\1", theirs).replace("logits", "classif")
        if inside:
            theirs += f".branch{inside[0]}{steps[place].in_sequence}"
        yield name, f"{theirs}.{tensor.removeprefix('conv.') if bare else BASIC[tensor]}"


def resnet(ours: Shapes) -> Pairs:
    """torchvision's names; timm has the same. conv3_x.unit_2.conv1.norm.weight is layer2.1.bn1.weight."""
    for name in ours:
        theirs = re.sub(r"^conv(\d)_x\.unit_(\d+)\.", lambda at: f"layer{int(at[1]) - 1}.{int(at[2]) - 1}.", name)
        theirs = theirs.replace("shortcut.conv", "downsample.0").replace("shortcut.norm", "downsample.1")
        theirs = re.sub(r"conv(\d)\.conv\.", r"conv\1.", theirs)
        theirs = re.sub(r"conv(\d)\.norm\.", r"bn\1.", theirs)
        yield name, theirs.replace("Logits.", "fc.")


def vgg(ours: Shapes) -> Pairs:
    """torchvision's: one numbered list of convolution, norm, ReLU and pooling."""
    return _numbered(ours, ("classifier.0.", "classifier.3.", "classifier.6."))


def timm_vgg(ours: Shapes) -> Pairs:
    """timm's: the same list; it writes the first linear layers as convolutions."""
    return _numbered(ours, ("pre_logits.fc1.", "pre_logits.fc2.", "head.fc."))


def _numbered(ours: Shapes, linear: tuple[str, str, str]) -> Pairs:
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
