"""What was had of frozen features, as sentences: the same in the terminal and in the report."""

from pellucid.errors import counted
from pellucid.reports.words import disk_space, duration
from pellucid.runs.events import Compared, FeaturesReady, FrozenRecomputed, HeadSolved, PixelsReady, Planned, ProbedAt

Transfer = PixelsReady | Planned | FeaturesReady | FrozenRecomputed | HeadSolved | ProbedAt | Compared


def transfer_words(event: Transfer) -> str:
    """One sentence, without its full stop."""
    match event:
        case PixelsReady():
            return _pixels(event)
        case Planned():
            return _planned(event)
        case FeaturesReady():
            return _features(event)
        case FrozenRecomputed():
            return f"the frozen part, before {event.train_from}, is computed anew in every epoch: {event.why}"
        case HeadSolved():
            return (
                f"best head computed in {event.seconds:.1f} s; cross-validation chose a penalty of "
                f"{event.strength:.3g} on large weights"
            )
        case ProbedAt():
            return (
                f"head fitted at {event.end_point} ({event.features:,} features): validation accuracy {event.accuracy}"
            )
        case Compared():
            return _compared(event)


def _pixels(event: PixelsReady) -> str:
    what = f"pixels of {counted(event.images, 'image')}"
    if event.refused:
        return f"{what} are decoded anew each epoch: {event.refused}"
    if not event.kept:
        sizes = f"{disk_space(event.needed)} where {disk_space(event.room)} may be taken"
        half = "half of --cache-size, or of what is free on the disk"
        return f"{what} are decoded anew each epoch: to cache them would take {sizes} ({half})"
    if not event.needed:
        return f"{what} are decoded as they are asked for"
    if not event.decoded:
        return f"{what}: all found in the cache ({disk_space(event.needed)})"
    reduced = f", {event.reduced:,} at a reduced scale" if event.reduced else ""
    made = f"{event.decoded:,} decoded in {duration(event.seconds)}{reduced}"
    return f"{what}: {made}, cached ({disk_space(event.needed)})"


def _planned(event: Planned) -> str:
    last = f" from {event.train_from} on" if event.train_from else ""
    last += f", on {event.views} random versions of each image" if event.views > 1 else ""
    what = {
        "probe": "a probe, which trains the head alone",
        "finetune": f"a probe, then {counted(event.epochs, 'epoch')} of fine-tuning{last}",
        "scratch": f"{counted(event.epochs, 'epoch')} from scratch",
    }[event.mode]
    if event.again and event.mode == "probe":
        return f"planned again: the probe is the result, since no epoch fits into the {duration(event.left)} left"
    step = f", {1000 * event.step:.0f} ms per training step" if event.step else ""
    what = what.removeprefix("a probe, then ") if event.again else what
    time = f"about {duration(event.expected)} of the {duration(event.left)} left of {duration(event.budget)}"
    pace = f"evaluating takes {1000 * event.look:.0f} ms per image{step}"
    if event.more:
        time += ", then more if it fits"
    return f"planned{' again' if event.again else ''}: {what}, at {event.size} pixels per side; {time} ({pace})"


def _features(event: FeaturesReady) -> str:
    views = f", {event.views} random versions of each" if event.views > 1 else ""
    what = f"features at {event.place} of {counted(event.images, 'image')}{views}"
    if not event.computed:
        return f"{what}: all found in the cache"
    pace = event.computed / max(event.seconds, 1e-9)
    kept = f"held in memory as {event.kept}: {event.refused}" if event.refused else f"cached as {event.kept}"
    return (
        f"{what}: {event.computed:,} computed in {duration(event.seconds)} ({pace:,.0f} images/s, {event.precision}), "
        f"{kept}"
    )


def _compared(event: Compared) -> str:
    """What fine-tuning was worth, in the model that is kept."""
    if not event.kept:
        among = "the epoch" if event.epochs == 1 else f"none of {event.epochs} epochs"
        better = "was not better" if event.epochs == 1 else "was better"
        return f"fine-tuning did not help, and the probe stays the best: {among} {better} than its {event.probe}"
    figures = f"probe {event.probe}, fine-tuned {event.tuned}"
    counts = (
        f"right only after fine-tuning: {counted(event.gained, 'image')}; right only before it: {event.lost}; "
        f"p = {event.chance:.2g}, how likely so large a difference would be by chance"
    )
    explored = event.epochs != 1
    if explored:
        which = (
            f"epoch {event.kept} of {event.epochs}; p allows for {event.epochs} tries" if event.epochs else "the epoch"
        )
        counts += f"; this proves nothing, since the same images chose {which}"
    if event.worth:
        verdict = "fine-tuning seems worth it" if explored else "fine-tuning was worth it"
    elif event.lost > event.gained:
        verdict = "fine-tuning was right less often than the probe"
    else:
        verdict = "what fine-tuning gained may be chance, and the probe takes a fraction of the time"
    return f"{verdict}: {figures} ({counts})"
