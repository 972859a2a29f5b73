"""What a computation that failed says: its reason in a line, and whether it was a lack of memory."""

import torch

# What torch's allocators say where their error has no kind of its own.
OF_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "not enough memory",
    "cannot allocate memory",
    "failed to allocate",
)


def reason(cause: BaseException) -> str:
    """The first line of what an error says; its kind where it says nothing."""
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    kind = type(cause).__name__
    if not lines:
        return kind
    return lines[0] if isinstance(cause, RuntimeError | ValueError | AssertionError) else f"{kind}: {lines[0]}"


def is_of_memory(cause: BaseException) -> bool:
    """Whether less of everything would have helped."""
    said = str(cause).lower()
    return isinstance(cause, MemoryError | torch.OutOfMemoryError) or any(words in said for words in OF_MEMORY)
