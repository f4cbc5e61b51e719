"""Image data sets as folders of class folders: each folder is recognised as a part or as a class."""

import hashlib
import os
import re
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from untrained.data.holdout import hold_out
from untrained.data.image_files import Form, ImageFiles, find_form, list_endings, load_pillow
from untrained.data.splits import SourceData, Split
from untrained.terminal.progress import show_step

_KINDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_FILLERS = frozenset("data dataset folder image images img imgs part seg set split".split())
_SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini"))
_TEST_FRACTION = 0.2  # of a folder that has no parts
_MEMORY_BYTES = 2 << 30  # decoded images up to this size are kept in memory
_LONGEST_SIDE = 4096
_MANY = 2_000  # images, which take more than a second to read
_EXPECTED = "expected folder/{train,test}/class/*.jpg or folder/class/*.png"

_Example = tuple[Path, int]


def read_image_folder(folder: Path, size: int | tuple[int, int] | None) -> SourceData:
    """Read `folder/{train,test}/class/*.jpg` or `folder/class/*.png`.

    Parts may be spelt in the usual ways (`Training`, `test_set`, `seg_train`), and lie a folder deeper. A `val` folder
    is the validation part beside a `test` folder, and the test part where there is none; without either, a fixed fifth
    of the images is the test part. Hidden files and folders are skipped. Colour images may be augmented; grey ones, so
    often writing, may not.

    Raises:
        FileNotFoundError: there is no class folder, or one holds no image.
        ValueError: an image is unreadable, sizes differ and no `size` is given, classes do not match, or parts cannot
            be distinguished from classes.
        ImportError: the extra `untrained[images]` is not installed.

    Warns:
        UserWarning: files are not read, or test images are copies of training images.
    """
    load_pillow()
    sides = size if size is None or isinstance(size, tuple) else (size, size)
    for side in sides or ():
        if not 1 <= side <= _LONGEST_SIDE:
            raise ValueError(f"size must be 1 to {_LONGEST_SIDE} pixels, got {side}")
    found = _find_parts(folder)
    labels = tuple(sorted(_normalise_name(path) for path in _list_class_folders(found["train"])))
    if len(labels) == 1:
        inside = _join_names(_list_subfolders(found["train"] / labels[0]))
        holding = f" (which holds the folders {inside})" if inside else ""
        raise ValueError(f"{found['train']}: got one class folder, {labels[0]!r}{holding}, expected at least two")
    unread: list[Path] = []
    parts = {kind: _list_examples(path, labels, unread) for kind, path in found.items()}
    if "test" not in parts:
        whole = parts["train"]
        held = hold_out(len(whole), max(1, round(_TEST_FRACTION * len(whole))))
        parts["train"], parts["test"] = ([whole[index] for index in indices] for indices in held)
    if unread:
        _warn(
            f"{folder}: {len(unread)} files are not read, such as {unread[0]}; "
            "expected images in class folders, with endings that Pillow reads here"
        )
    count = sum(map(len, parts.values()))
    with show_step(f"reading {count:,} images of {folder}") if count > _MANY else nullcontext():
        _warn_of_copies(folder, parts)
        form = find_form([path for part in parts.values() for path, _ in part], sides)
        in_memory = count * form.channels * form.height * form.width < _MEMORY_BYTES
        splits = {kind: _make_split(part, form, in_memory) for kind, part in parts.items()}
    return SourceData(splits["train"], splits["test"], labels, form.channels == 3, splits.get("val"))


def _find_parts(folder: Path) -> dict[str, Path]:
    """Return the folder of class folders of each part: always "train", and the others that exist."""
    parent = folder
    while True:
        siblings = _list_subfolders(parent)
        parts = _group_parts(siblings)
        # A part holds class folders, but a class called "train" holds images.
        divided = any(_list_subfolders(path) for path in parts.get("train", ()))
        if divided or len(siblings) != 1:
            break
        parent = siblings[0]
    if not divided:
        _refuse_parts_as_classes(folder, _list_subfolders(folder))
        return {"train": folder}
    for kind, paths in parts.items():
        if len(paths) > 1:
            raise ValueError(f"{parent}: got {_join_names(paths)}, expected one folder for the {kind} part")
    found = {kind: _unwrap(paths[0]) for kind, paths in parts.items()}
    for path in found.values():
        if not _list_subfolders(path):
            raise ValueError(
                f"{path}: got a part without class folders, {_EXPECTED}; "
                f"or give {found['train']} alone, and a fifth of it becomes the test part"
            )
    others = [path for path in siblings if [path] not in parts.values() and _list_files(path)[0]]
    if others:
        names = _join_names([path for paths in parts.values() for path in paths])
        message = f"{parent}: got {_join_names(others)} beside the parts {names}"
        if len(found) == 1:
            raise ValueError(f"{message}, and cannot tell parts from classes; {_EXPECTED}")
        _warn(f"{message}; they are not read")
    if "test" not in found and "val" in found:
        found["test"] = found.pop("val")
    return found


def _group_parts(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the folders that are named like parts, by kind: "train" is one, or there are none."""
    named: dict[tuple[str, ...], dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in folders:
        kinds, rest = _parse_name(path)
        if len(kinds) == 1:
            named[rest][kinds[0]].append(path)
    # asl_train and asl_test are parts, but steam_train alone is not.
    groups = [kinds for rest, kinds in named.items() if "train" in kinds and (not rest or len(kinds) > 1)]
    return groups[0] if len(groups) == 1 else {}


def _refuse_parts_as_classes(folder: Path, classes: Sequence[Path]) -> None:
    """Refuse folders of images that are named like parts, but warn if only one of several folders is."""
    parsed = {path: _parse_name(path) for path in classes}
    kinds = {path: kinds[0] for path, (kinds, rest) in parsed.items() if len(kinds) == 1 and not rest}
    if kinds and (len(kinds) == len(classes) or ("train" in kinds.values() and len(set(kinds.values())) > 1)):
        raise ValueError(
            f"{folder}: got {_join_names(list(kinds))}, called like parts, and no train part with class folders; "
            f"{_EXPECTED}"
        )
    if doubtful := [path for path, kind in kinds.items() if kind != "train"]:
        _warn(f"{folder}: {_join_names(doubtful)} is read as a class, beside others; rename it if it is none")


def _parse_name(path: Path) -> tuple[list[str], tuple[str, ...]]:
    """Return the kinds of parts in a name, and its other words: (["train"], ()) for "Seg_Train-2"."""
    words = [word for word in re.findall(r"[^\W\d_]+", _normalise_name(path).casefold()) if word not in _FILLERS]
    words = [re.sub("(set|data)$", "", word) for word in words]
    return [_KINDS[word] for word in words if word in _KINDS], tuple(word for word in words if word not in _KINDS)


def _unwrap(part: Path) -> Path:
    """Return the part itself, or the folder of its name in it: seg_train/seg_train."""
    inside = _list_subfolders(part)
    return inside[0] if len(inside) == 1 and _parse_name(inside[0]) == _parse_name(part) else part


def _normalise_name(path: Path) -> str:
    return unicodedata.normalize("NFC", path.name)


def _join_names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:5]) + (", …" if len(paths) > 5 else "")


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX" or name.lower() in _SYSTEM_FILES


def _list_subfolders(folder: Path) -> list[Path]:
    return sorted(
        (path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name)), key=_normalise_name
    )


def _list_class_folders(folder: Path) -> list[Path]:
    folders = _list_subfolders(folder)
    if not folders:
        raise FileNotFoundError(f"{folder}: no class folders; {_EXPECTED}")
    counts = Counter(map(_normalise_name, folders))
    for path in folders:
        if counts[_normalise_name(path)] > 1:
            raise ValueError(f"{path}: got two class folders of this name, in two forms of Unicode; rename one")
    return folders


def _list_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return image files at every depth, and all else that is not hidden: other files, broken links, linked folders."""
    images, others, known = [], [], list_endings()

    def stop(error: OSError) -> None:  # os.walk would skip a folder that it cannot read
        raise error

    for parent, inner, names in os.walk(folder, onerror=stop):
        inner[:] = [name for name in inner if not _is_hidden(name)]
        others += [path for path in (Path(parent, name) for name in inner) if path.is_symlink()]
        for path in (Path(parent, name) for name in names if not _is_hidden(name)):
            (images if path.suffix.lower() in known and path.is_file() else others).append(path)
    return sorted(images), sorted(others)


def _list_examples(folder: Path, labels: tuple[str, ...], unread: list[Path]) -> list[_Example]:
    """Return images and their classes, and add the files that are not read to `unread`."""
    examples: list[_Example] = []
    loose = (path for path in sorted(folder.iterdir()) if path.is_file() and not _is_hidden(path.name))
    unread += [path for path in loose if path.suffix.lower() in list_endings()]
    for class_folder in _list_class_folders(folder):
        if _normalise_name(class_folder) not in labels:
            raise ValueError(f"{class_folder}: got an unknown class, expected one of {', '.join(labels)}")
        images, others = _list_files(class_folder)
        unread += others
        if not images:
            got = f", got {_join_names(others)}" if others else ""
            raise FileNotFoundError(f"{class_folder}: no images; expected files such as .jpg or .png{got}")
        parents = {path.parent for path in images}
        if (shared := Path(os.path.commonpath(parents))) not in parents:
            raise ValueError(
                f"{class_folder}: got a class folder that holds only folders, {_join_names(_list_subfolders(shared))}; "
                "expected images: give the folder that holds the class folders"
            )
        examples += [(path, labels.index(_normalise_name(class_folder))) for path in images]
    return examples


def _warn_of_copies(folder: Path, parts: dict[str, list[_Example]]) -> None:
    """Warn of test images whose files are, byte for byte, those of other parts."""
    kinds = {path: kind for kind, part in parts.items() for path, _ in part}
    groups = [list(kinds)]
    # Nearly all files differ in size or in their last bytes, and only the rest is read.
    for key in (_read_size_and_end, _hash):
        alike = [some for group in groups for some in _group(group, key)]
        groups = [group for group in alike if {"test"} < {kinds[path] for path in group}]
    copies = [
        (path, next(other for other in group if kinds[other] != "test"))
        for group in groups
        for path in group
        if kinds[path] == "test"
    ]
    if copies:
        path, other = copies[0]
        _warn(
            f"{folder}: {len(copies)} of {len(parts['test'])} test images are copies of images to learn from, such as "
            f"{path} of {other}: the test accuracy will be too high"
        )


def _group(paths: list[Path], key: Callable[[Path], object]) -> list[list[Path]]:
    """Return the groups of two or more paths with the same key."""
    groups: dict[object, list[Path]] = defaultdict(list)
    for path in paths:
        groups[key(path)].append(path)
    return [group for group in groups.values() if len(group) > 1]


def _read_size_and_end(path: Path) -> tuple[int, bytes]:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 512))
        return size, file.read()


def _hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()


def _make_split(part: list[_Example], form: Form, in_memory: bool) -> Split:
    files = ImageFiles([path for path, _ in part], form)
    labels = torch.tensor([label for _, label in part], device="cpu")
    return Split(files[torch.arange(len(files), device="cpu")] if in_memory else files, labels)


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)
