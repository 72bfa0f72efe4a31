"""What tells two versions of an image apart, in a word. Pure."""

from __future__ import annotations


def from_to(old: str, new: str) -> str:
    """Two images of one container, by what differs: a tag beside a digest may stay, and so may the tag of another repository."""
    if (a := tag(old)) != (b := tag(new)):
        return f"{a} -> {b}"
    digests = [image.partition("@")[2][:19] for image in (old, new)]
    return f"{digests[0]} -> {digests[1]}" if all(digests) and len({*digests}) == 2 else f"{old} -> {new}"


def tag(image: str) -> str:
    """What tells versions of an image apart: its tag, or the start of its digest; the name when it has neither."""
    name, _, digest = image.partition("@")
    last = name.rpartition("/")[2]
    if ":" in last:
        return last.partition(":")[2]
    return digest[:19] if digest else last
