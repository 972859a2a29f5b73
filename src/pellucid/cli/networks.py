"""The verbs about networks, trained or not: models, structure, parity; bench.py has the one that times them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pellucid.cli.shared import Auxiliary, Classes, Code, Conventions, Layout, Size, SpatialSqueeze, Switch, Width
from pellucid.errors import DONE, REQUIREMENT_NOT_MET, UserError


def models() -> None:
    """List the networks that can be trained, with their size, cost and published weights."""
    from pellucid.cli.show import say
    from pellucid.reports.lists import model_rows, models_text

    say(models_text(model_rows()))
    say("pixels: per side of the images that the network was designed for; multiply-adds: for one such image")
    say("timm/NAME gives any network of the library timm, such as timm/convnext_tiny.")


def structure(
    net: str,
    /,
    *,
    size: Size = None,
    batch: int = 1,
    classes: Classes = None,
    width: Width = None,
    auxiliary: Auxiliary = None,
    conventions: Conventions = None,
    spatial_squeeze: SpatialSqueeze = None,
    until: str | None = None,
    names: Literal["slim", "tf-slim", "paddle", "torchvision", "timm", "keras"] | None = None,
    all: Switch = False,
    end_points: Switch = False,
    compare: str | None = None,
    time: Switch = False,
    backward: Switch = False,
    image: Path | None = None,
    weights: str | None = None,
    layout: Layout = "auto",
    model_code: Code = None,
    format: Literal["text", "lines", "json", "csv", "html"] = "text",
    out: Path | None = None,
) -> None:
    """Show what a network is made of: output, parameters, cost and receptive field of each part.

    There is one row per end point, which is a named place in the network, such as conv5_x: other commands take these
    names (train --train-from). The receptive field is the pixels of the image that one cell of an output sees.

    Parameters
    ----------
    net
        A network: a name that `pellucid models` lists, timm/NAME, your own as FILE.py:NAME, a run folder or a model
        file.
    batch
        How many images go through at once: the first number of every output shape.
    until
        The last end point to show: its name, how its name begins, or what another library calls it. Default: the whole
        network.
    names
        The library whose names the layers get, with shapes in that library's order. slim and keras also set
        --conventions tensorflow, unless you give --conventions. Default: our names.
    all
        Show one row per layer, and the sums of each end point.
    end_points
        Show only the names of the end points, one per line.
    compare
        Another network to show side by side with this one, written as NET. Default: none.
    time
        Time the network: the milliseconds of each end point (with --all, of each layer), and what share it
        reaches of this machine's top speed, which is that of a product of large matrices.
    backward
        With --time: time the gradients too.
    image
        An image to send through the network: shows how strong each end point's output is, and how many of its channels
        are dead (the same everywhere); with --format html, the maps too. Default: none.
    weights
        With --image: the weights, which are imagenet (published ones) or a file. Default: random ones; a run or model
        file has its own.
    format
        text: a table. lines: one line per layer, with its name, output and weights. json: one object. csv: one line per
        layer. html: a page with the network drawn, that opens offline.
    out
        The file to write. Default: the terminal.
    """
    from pellucid.networks.own import remember
    from pellucid.reports.drawn import structure as measure

    remember(model_code)
    flags = {
        "--all": all,
        "--end-points": end_points,
        "--compare": compare is not None,
        "--time": time,
        "--backward": backward,
        "--image": image is not None,
        "--weights": weights is not None,
        "--layout": layout != "auto",
        "--names": names is not None,
        "--batch": batch != 1,
        "--out": out is not None,
        f"--format {format}": format != "text",
    }
    _check_together([flag for flag, is_given in flags.items() if is_given])
    given: dict[str, Any] = {"size": size, "batch": batch, "classes": classes, "width": width, "auxiliary": auxiliary}
    given |= {"conventions": conventions, "spatial_squeeze": spatial_squeeze, "until": until}
    times, flows = None, ()  # type: Any, tuple[Any, ...]
    if time:
        from pellucid.uses.structure import timed

        counted, times = timed(net, backward=backward, **given)
        if format == "json":
            _put(json.dumps(asdict(times)), out)
        elif format == "text":
            from pellucid.cli.show import say
            from pellucid.reports.structure import times_text

            say(times_text(counted, times, every_layer=all))
        if format != "html":
            return
    if image is not None:
        from pellucid.cli.show import say
        from pellucid.reports.structure import flows_text
        from pellucid.uses.structure import flowing

        flows = flowing(net, image, weights=weights, layout=layout, **given)
        if format == "text":
            say(flows_text(flows))
            return
    found = measure(net, names=names, **given)
    if until is not None and found.ends[-1].name != until:
        from pellucid.cli.show import aside

        aside().print(f"{until} is {found.ends[-1].name} here")
    if end_points:
        print("\n".join(end.name for end in found.ends))
        return
    if format != "text" or out is not None:
        if format == "html":
            from pellucid.images.decode import open_image
            from pellucid.images.demo import sample_photo

            written = found.to_html(sample_photo() if image is None else open_image(image), flows, times)
        else:
            written = {"json": found.to_json, "csv": found.to_csv}.get(format, found.__str__)()
        _put(written, out)
        return
    from pellucid.cli.show import say
    from pellucid.reports.structure import comparison_text, structure_text

    if compare is not None:
        say(comparison_text(found, measure(compare, **given)))
    else:
        say(structure_text(found, every_layer=all or names is not None))


# What a flag of `structure` shows alone, and what it needs beside it.
FORMATS = ("--format lines", "--format json", "--format csv", "--format html")
SHOWN_ALONE = {
    "--compare": ("--all", "--end-points", "--time", "--image", "--out", *FORMATS),
    "--end-points": ("--all", "--time", "--image", "--out", *FORMATS),
    "--names": ("--compare", "--end-points", "--time", "--image", "--format html"),
    "--time": ("--format csv", "--format lines"),
    "--image": ("--all", "--batch", "--format json", "--format csv", "--format lines"),
}
NEEDED = {
    "--backward": ("--time", "write --time --backward"),
    "--weights": ("--image", "add --image PHOTO"),
    "--layout": ("--weights", "add --weights FILE"),
}


def _check_together(given: list[str]) -> None:
    """Refuse flags of `structure` of which one would leave another without effect."""
    for flag, (needed, hint) in NEEDED.items():
        if flag in given and needed not in given:
            raise UserError(f"{flag} is for {needed}", hint=hint)
    for flag, others in SHOWN_ALONE.items():
        if flag in given and (beside := [other for other in others if other in given]):
            raise UserError(f"{flag} and {beside[0]} cannot be shown together", hint="leave one of them out")
    if "--format html" in given:
        return
    if "--time" in given and "--image" in given:
        raise UserError("--time and --image are shown together on a page only", hint="add --format html")
    if "--out" in given and ("--image" in given or ("--time" in given and "--format json" not in given)):
        raise UserError("with --time or --image, --out writes a page", hint="add --format html")


def _put(text: str, out: Path | None) -> None:
    """To the file `out`, or shown."""
    if out is None:
        print(text, end="" if text.endswith("\n") else "\n")
        return
    from pellucid.records import write

    write(out, text)


def parity(
    net: str,
    /,
    *,
    against: str,
    weights: Path | None = None,
    layout: Layout = "auto",
    image: Path | None = None,
    size: int | None = None,
    width: float = 1.0,
    conventions: Literal["torch", "tensorflow"] | None = None,
    seed: int | None = None,
    format: Literal["text", "json"] = "text",
) -> int:
    """Compare a network with another implementation of it: where they first differ, and what may be the cause.

    Both get the same weights and the same image, and their outputs are compared end point by end point. The exit code
    is 3 where they differ.

    Parameters
    ----------
    net
        The network: a name that `pellucid models` lists, or your own as FILE.py:NAME.
    against
        The other implementation: torchvision, timm, keras or paddle; or an .npz file with the arrays `input`,
        `end_points/NAME` and `weights/NAME`. Where one of the two is your own network, any network by its name or
        FILE.py:NAME: both then get the same random weights, tensor by tensor in their order.
    weights
        A file of weights for both, with the names that the other implementation has. Default: random weights, or those
        in the .npz file.
    image
        The image that both see. Default: noise, or `input` in the .npz file.
    size
        Pixels per side of the image. Default: what the network was designed for, or the size of `input`.
    width
        A factor on the number of channels of every convolution.
    conventions
        Pad, average and normalise feature maps as torch or as tensorflow does. Give the one that the weights were
        trained with. Default: tensorflow against keras or an .npz file, otherwise torch.
    seed
        The number that random weights and noise come from. Default: 0.
    format
        text: a table. json: one object.
    """
    from pellucid.cli.show import say
    from pellucid.reports.parity import parity_text
    from pellucid.uses.parity import compare

    found = compare(
        net,
        against=against,
        weights=weights,
        layout=layout,
        image=image,
        size=size,
        width=width,
        conventions=conventions,
        seed=seed,
    )
    if format == "json":
        print(json.dumps({"first": asdict(found.first) if found.first else None} | asdict(found)))
    else:
        say(parity_text(net, against, found))
    return REQUIREMENT_NOT_MET if found.first else DONE
