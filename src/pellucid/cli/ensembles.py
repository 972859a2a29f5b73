"""The verb that makes one model of several."""

from pathlib import Path


def ensemble(models: list[str], /, *, out: Path, model_code: str | None = None) -> None:
    """Make one model of several, and measure what each of them adds.

    It says the mean of their calibrated probabilities, is a file like any other model's, and takes as long as all of
    them together. What they are worth is measured on images that none of them learned from.

    Parameters
    ----------
    models
        Run folders or .safetensors models that tell the same classes apart.
    out
        The .safetensors to write.
    model_code
        Where the code of one's own network is: FILE.py:NAME. It is run only when it is named.
    """
    from pellucid.cli.show import counting, say
    from pellucid.reports.text import ensemble_text
    from pellucid.uses.ensemble import ensemble as make

    with counting("measuring") as progress:
        told = make(models, out, model=model_code, progress=progress)
    say(ensemble_text(told))
