"""Do all engines say the same of the same photographs? A model against its exported files, image by image.

    python benchmarks/export_parity.py model.safetensors photos/ [--odd] [--most 1000]

Torch in float32 is compared with ONNX Runtime and OpenVINO, each with pixels that Pellucid prepared and with whole
images. `--odd` shows each photograph in a form that decoders and exporters stumble over as well: turned by its EXIF
orientation, CMYK, grey, 16 bits deep, transparent, and four times as wide. The last row shows that the bound can be
missed: the same photographs resized without antialias.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import pellucid as pl
from pellucid.engines.choose import engines_for, open_engine
from pellucid.engines.engine import Engine
from pellucid.images.decode import open_image
from pellucid.images.folders import look_through
from pellucid.images.preprocessing import Pixels, resized
from pellucid.measures.calibration import probabilities
from pellucid.networks.own import remember
from pellucid.uses.agreement import Agreement, agreement
from pellucid.uses.predict import pixels_for, shares

ORIENTATION, TURNED = 0x0112, 6  # EXIF: a quarter turn clockwise to be upright


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--odd", action="store_true")
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--model-code", help="where the code of one's own network is: FILE.py:NAME")
    asked = parser.parse_args()
    images = list(look_through(asked.photos).all_images())[: asked.most]
    print("engine                        | images | changed | ties | largest difference of a probability")
    with tempfile.TemporaryDirectory() as folder:
        if asked.odd:
            images = [each for index, path in enumerate(images) for each in odd(path, Path(folder) / str(index))]
        remember(asked.model_code)
        reference = open_engine(asked.model, engine="torch", device="cpu")
        for inside in (False, True):
            out = Path(folder) / f"inside-{inside}.onnx"
            pl.export(asked.model, out, inside=inside)
            for name in engines_for("onnx"):
                row(
                    f"{name}{', whole images' if inside else ''}",
                    agreement(reference, open_engine(out, engine=name), images),
                )
        print(f"{'torch, without antialias':30}|{without_antialias(reference, images)}")


def row(name: str, found: Agreement) -> None:
    print(f"{name:30}| {found.images:6} | {len(found.changed):7} | {found.ties:4} | {found.greatest:.2g}", flush=True)
    for words in (*found.problems(), *found.unreadable)[:5]:
        print(f"    {words}")


def odd(path: Path, folder: Path) -> list[Path]:
    """The photograph in forms that are seldom tried, written to `folder`."""
    folder.mkdir()
    image = open_image(path)
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED
    image.save(folder / "turned.jpg", exif=exif, quality=95)
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    image.convert("L").save(folder / "grey.png")
    deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.png")
    clear = image.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(image.size))
    clear.save(folder / "transparent.png")
    image.resize((4 * image.width, image.height)).save(folder / "wide.png")
    return sorted(folder.iterdir())


def without_antialias(reference: Engine, images: list[Path]) -> str:
    """What torch says where pixels are picked and interpolated, but not averaged: as many exports do."""
    import torch
    from torch.nn.functional import interpolate

    card = reference.card
    wanted = card.preprocessing

    def prepared(path: Path) -> Pixels:
        image = open_image(path, background=wanted.background)
        width, height = resized(image.size, wanted.resize)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float()
        mode = "bicubic" if wanted.interpolation == "bicubic" else "bilinear"
        made = interpolate(pixels, (height, width), mode=mode, align_corners=False).clamp(0, 255).round().byte()
        top, left = (height - wanted.seen) // 2, (width - wanted.seen) // 2
        return made[0].permute(1, 2, 0).numpy()[top : top + wanted.seen, left : left + wanted.seen]

    ours = shares(
        reference, [pixels_for(card, open_image(path, background=wanted.background), name="") for path in images[:200]]
    )
    logits = reference.logits_of_pixels(np.stack([prepared(path) for path in images[:200]]))
    theirs = probabilities(logits, temperature=card.temperature, one_logit=card.one_logit)
    changed = int((ours.argmax(1) != theirs.argmax(1)).sum())
    return f" {len(ours):6} | {changed:7} | {'':4} | {np.abs(ours - theirs).max():.2g}"


if __name__ == "__main__":
    main()
