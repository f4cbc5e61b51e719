"""Image data sets kept as folders of class folders: which folder is a part, and which is a class."""

import hashlib
import os
import re
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import final

import torch

from untrained.data.holdout import hold_out
from untrained.data.image_files import Form, ImageFiles, common_form, endings, load_pillow
from untrained.data.splits import SourceData, Split

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
_EXPECTED = "expected folder/{train,test}/class/*.jpg or folder/class/*.png"

_Example = tuple[Path, int]


def read_image_folder(folder: Path, size: int | tuple[int, int] | None) -> SourceData:
    """Read `folder/{train,test}/class/*.jpg` or `folder/class/*.png`.

    Parts may be spelt in the usual ways (`Training`, `test_set`, `seg_train`), and lie a folder deeper. A `val` folder
    is the validation part beside a `test` folder, and the test part where there is none; without either, a fixed fifth
    of the images is the test part. Hidden files and folders are left alone; a warning tells of other files that are not
    read, and of test images that are copies of training images.

    Args:
        folder: The folder.
        size: Side in pixels (or height and width) to which all images are scaled and cropped; None: they have one size
            already.

    Returns:
        The parts; colour images may be augmented, grey ones (so often writing) may not.

    Raises:
        FileNotFoundError: There is no class folder, or one holds no image.
        ValueError: An image is unreadable, sizes differ and no `size` is given, classes do not match, or it is not
            clear which folders are parts and which are classes.
        ImportError: The extra `untrained[images]` is not installed.
    """
    load_pillow()
    sides = size if size is None or isinstance(size, tuple) else (size, size)
    for side in sides or ():
        if not 1 <= side <= _LONGEST_SIDE:
            raise ValueError(f"size: got {side}, expected 1 to {_LONGEST_SIDE} pixels")
    found = _find_parts(folder)
    for path in found.values():
        _refuse_twins(_class_folders(path))
    labels = tuple(sorted({_name(path) for path in _class_folders(found["train"])}))
    if len(labels) == 1:
        inside = _named(_subfolders(found["train"] / labels[0]))
        holding = f" (which holds the folders {inside})" if inside else ""
        raise ValueError(f"{found['train']}: got one class folder, {labels[0]!r}{holding}, expected at least two")
    unread: list[Path] = []
    parts = {kind: _list_examples(path, labels, unread) for kind, path in found.items()}
    if "test" not in parts:
        whole = parts["train"]
        kept, held = hold_out(len(whole), max(1, round(_TEST_FRACTION * len(whole))))
        parts["train"] = [whole[index] for index in kept.tolist()]
        parts["test"] = [whole[index] for index in held.tolist()]
    if unread:
        _warn(
            f"{folder}: {len(unread)} files are not read, such as {unread[0]}; "
            "expected images in class folders, with endings that Pillow reads here"
        )
    _warn_of_copies(folder, parts)
    form = common_form([path for part in parts.values() for path, _ in part], sides)
    in_memory = sum(map(len, parts.values())) * form.channels * form.height * form.width < _MEMORY_BYTES
    splits = {kind: _make_split(part, form, in_memory) for kind, part in parts.items()}
    return SourceData(
        train=splits["train"],
        val=splits.get("val"),
        test=splits["test"],
        labels=labels,
        augment=form.channels == 3,
    )


@final
class _Siblings:
    """The folders in a folder, and which of them are called like parts.

    Attributes:
        folder: the folder.
        all: the folders in it.
        parts: those called like parts, by kind; "train" is among them, or there are none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.all = _subfolders(folder)
        spelt: dict[tuple[str, ...], dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
        for path in self.all:
            kinds, rest = _spelling(path)
            if len(kinds) == 1:
                spelt[rest][kinds[0]].append(path)
        # asl_train and asl_test are parts, where steam_train alone is none.
        groups = [kinds for rest, kinds in spelt.items() if "train" in kinds and (not rest or len(kinds) > 1)]
        self.parts = groups[0] if len(groups) == 1 else {}

    @property
    def divided(self) -> bool:
        """Whether there are parts: a part holds class folders, where a class called "train" holds images."""
        return any(_subfolders(path) for path in self.parts.get("train", ()))


def _find_parts(folder: Path) -> dict[str, Path]:
    """The folders that hold the class folders of each part: always "train", and what else there is."""
    siblings = _Siblings(folder)
    inner = siblings
    while not inner.divided and len(inner.all) == 1:
        inner = _Siblings(inner.all[0])
    if not inner.divided:
        _refuse_parts_as_classes(siblings)
        return {"train": folder}
    siblings = inner
    for kind, paths in siblings.parts.items():
        if len(paths) > 1:
            raise ValueError(f"{siblings.folder}: got {_named(paths)}, expected one folder for the {kind} part")
    found = {kind: _unwrapped(paths[0]) for kind, paths in siblings.parts.items()}
    for path in found.values():
        if not _subfolders(path):
            raise ValueError(
                f"{path}: got a part without class folders, {_EXPECTED}; "
                f"or give {found['train']} alone, and a fifth of it becomes the test part"
            )
    others = [path for path in siblings.all if [path] not in siblings.parts.values() and _files(path)[0]]
    if others:
        parts = _named([path for paths in siblings.parts.values() for path in paths])
        says = f"{siblings.folder}: got {_named(others)} beside the parts {parts}"
        if len(found) == 1:
            raise ValueError(f"{says}, and cannot tell parts from classes; {_EXPECTED}")
        _warn(f"{says}; they are not read")
    if "test" not in found and "val" in found:
        found["test"] = found.pop("val")
    return found


def _refuse_parts_as_classes(siblings: _Siblings) -> None:
    """Refuse folders of images that are called like parts: they are not classes. A lone one among classes may be."""
    kinds = {
        path: kinds[0] for path in siblings.all if len(kinds := _spelling(path)[0]) == 1 and not _spelling(path)[1]
    }
    if kinds and (len(kinds) == len(siblings.all) or ("train" in kinds.values() and len(set(kinds.values())) > 1)):
        raise ValueError(
            f"{siblings.folder}: got {_named(list(kinds))}, called like parts, and no train part with class folders; "
            f"{_EXPECTED}"
        )
    if doubtful := [path for path, kind in kinds.items() if kind != "train"]:
        _warn(f"{siblings.folder}: {_named(doubtful)} is read as a class, beside others; rename it if it is none")


def _spelling(path: Path) -> tuple[list[str], tuple[str, ...]]:
    """The kinds of parts that a name spells, and its other words: "Seg_Train-2" is (["train"], ())."""
    words = [word for word in re.findall(r"[^\W\d_]+", _name(path).casefold()) if word not in _FILLERS]
    words = [re.sub("(set|data)$", "", word) for word in words]
    return [_KINDS[word] for word in words if word in _KINDS], tuple(word for word in words if word not in _KINDS)


def _unwrapped(part: Path) -> Path:
    """The part itself, or the folder of its name in it: seg_train/seg_train."""
    inside = _subfolders(part)
    return inside[0] if len(inside) == 1 and _spelling(inside[0]) == _spelling(part) else part


def _name(path: Path) -> str:
    return unicodedata.normalize("NFC", path.name)


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:5]) + (", …" if len(paths) > 5 else "")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX" or name.lower() in _SYSTEM_FILES


def _subfolders(folder: Path) -> list[Path]:
    return sorted((path for path in folder.iterdir() if path.is_dir() and not _hidden(path.name)), key=_name)


def _class_folders(folder: Path) -> list[Path]:
    folders = _subfolders(folder)
    if not folders:
        raise FileNotFoundError(f"{folder}: no class folders; {_EXPECTED}")
    return folders


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Image files at every depth, and what else is not hidden: other files, links to nothing, links to folders."""
    images, others, known = [], [], endings()
    for holder, inner, names in os.walk(folder, onerror=_raise):
        inner[:] = [name for name in inner if not _hidden(name)]
        others += [path for path in (Path(holder, name) for name in inner) if path.is_symlink()]
        for path in (Path(holder, name) for name in names if not _hidden(name)):
            (images if path.suffix.lower() in known and path.is_file() else others).append(path)
    return sorted(images), sorted(others)


def _raise(error: OSError) -> None:
    raise error


def _refuse_twins(class_folders: Sequence[Path]) -> None:
    names = [_name(path) for path in class_folders]
    for path, name in zip(class_folders, names, strict=True):
        if names.count(name) > 1:
            raise ValueError(f"{path}: got two class folders of this name, in two forms of Unicode; rename one")


def _list_examples(folder: Path, labels: tuple[str, ...], unread: list[Path]) -> list[_Example]:
    """Images and their classes; what is not read is added to `unread`."""
    examples: list[_Example] = []
    known = endings()
    loose = (path for path in sorted(folder.iterdir()) if path.is_file() and not _hidden(path.name))
    unread += [path for path in loose if path.suffix.lower() in known]
    for class_folder in _class_folders(folder):
        if _name(class_folder) not in labels:
            raise ValueError(f"{class_folder}: got an unknown class, expected one of {', '.join(labels)}")
        images, others = _files(class_folder)
        unread += others
        if not images:
            got = f", got {_named(others)}" if others else ""
            raise FileNotFoundError(f"{class_folder}: no images; expected files such as .jpg or .png{got}")
        holders = {path.parent for path in images}
        if (shared := Path(os.path.commonpath(holders))) not in holders:
            raise ValueError(
                f"{class_folder}: got a class folder that holds only folders, {_named(_subfolders(shared))}; "
                "expected images: give the folder that holds the class folders"
            )
        examples += [(path, labels.index(_name(class_folder))) for path in images]
    return examples


def _warn_of_copies(folder: Path, parts: dict[str, list[_Example]]) -> None:
    """Warn of test images whose files are, byte for byte, those of other parts."""
    owners = {path: kind for kind, part in parts.items() for path, _ in part}
    groups = [list(owners)]
    # Nearly all files differ in size or in their last bytes, and only the rest is read.
    for mark in (_size, _tail, _digest):
        alike = [some for group in groups for some in _alike(group, mark)]
        groups = [group for group in alike if {"test"} < {owners[path] for path in group}]
    copies = {
        path: next(other for other in group if owners[other] != "test")
        for group in groups
        for path in group
        if owners[path] == "test"
    }
    for path, other in list(copies.items())[:1]:
        _warn(
            f"{folder}: {len(copies)} of {len(parts['test'])} test images are copies of images to learn from, such as "
            f"{path} of {other}: the test accuracy will be too high"
        )


def _alike(paths: list[Path], mark: Callable[[Path], object]) -> list[list[Path]]:
    groups: dict[object, list[Path]] = defaultdict(list)
    for path in paths:
        groups[mark(path)].append(path)
    return [group for group in groups.values() if len(group) > 1]


def _size(path: Path) -> int:
    return path.stat().st_size


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-min(512, _size(path)), os.SEEK_END)
        return file.read(512)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()


def _make_split(part: list[_Example], form: Form, in_memory: bool) -> Split:
    files = ImageFiles([path for path, _ in part], form)
    labels = torch.tensor([label for _, label in part], device="cpu")
    return Split(files[torch.arange(len(files), device="cpu")] if in_memory else files, labels)


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)
