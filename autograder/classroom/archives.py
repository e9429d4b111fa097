"""Reads uploads: a folder or a zip file, as a list of files. Nothing is ever unpacked to disk.

Students choose what is in a zip and how it is called. So only the bytes of the notebooks that are
wanted are read, within limits, and no name from a zip becomes a path.
"""

from __future__ import annotations

import re
import stat
import struct
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from autograder.judge.notebook_file import FILE_BYTES
from autograder.settings import MEBIBYTE

STUDENT_ZIP_BYTES = 2 * FILE_BYTES
BULK_ZIP_BYTES = 4096 * MEBIBYTE
TOTAL_BYTES = 4096 * MEBIBYTE
DIRECTORY_BYTES = 16 * MEBIBYTE
MOST_MEMBERS = 50_000
# A notebook full of pictures shrinks to a half, one full of numbers to a tenth.
HIGHEST_RATIO = 200
RATIO_FREE_BYTES = 1 * MEBIBYTE
LONGEST_NAME = 300
CHUNK = 64 * 1024
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
JUNK = re.compile(
    r"(^|/)(__MACOSX|\.ipynb_checkpoints|\.git)/|(^|/)(\._[^/]*|\.DS_Store|Thumbs\.db)$"
)
# They make a name look like another one. Joiners, which some scripts need, are left.
DIRECTION_MARKS = frozenset(
    map(chr, [0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
)
END_RECORD = b"PK\x05\x06"
END_BYTES = 22
ZIP64_LOCATOR = b"PK\x06\x07"
ZIP64_LOCATOR_BYTES = 20
LONGEST_COMMENT = 65_535


class Refused(ValueError):
    """A file is not taken; the text is a sentence that says why."""


@dataclass(frozen=True)
class Entry:
    """One file of an upload.

    Attributes:
        name: its path in the upload, with `/` between the parts; only for reading names from.
        origin: how a person finds it: the archive's name, if there is one, and the path.
        when: its date there, in this machine's time zone; None where there is none.
        read: returns its bytes.
        problem: why it cannot be taken; empty when it can.
        owner: path of the student's own zip that it lies in, without `.zip`; else empty. What is
            called how inside that zip, the student has chosen.
    """

    name: str
    origin: str
    when: datetime | None
    read: Callable[[], bytes]
    problem: str = ""
    owner: str = ""


class Budget:
    """How much may be read from one source, all its files together."""

    def __init__(self, limit: int = TOTAL_BYTES) -> None:
        self.left = limit

    def spend(self, size: int) -> None:
        """Take `size` bytes off.

        Raises:
            Refused: there is not so much left.
        """
        self.left -= size
        if self.left < 0:
            raise Refused("the source unpacks to more than this command reads")


@contextmanager
def open_source(source: Path) -> Iterator[list[Entry]]:
    """List the files of a folder (with the zips in it), or of a zip; they can be read inside.

    Raises:
        Refused: the source cannot be read at all.
    """
    budget = Budget()
    with ExitStack() as stack:
        if source.is_dir():
            yield list(_folder(source, stack, budget))
        elif source.suffix.lower() == ".zip":
            yield list(_zip(source, "", stack, budget, BULK_ZIP_BYTES))
        elif source.suffix.lower() == ".ipynb" and source.is_file():
            yield [_file(source, source.name)]
        elif not source.exists():
            raise Refused(f"there is no {source}")
        else:
            raise Refused(f"{source.name} is no folder, no zip and no notebook")


def _folder(folder: Path, stack: ExitStack, budget: Budget) -> Iterator[Entry]:
    paths = sorted(folder.rglob("*"))
    if len(paths) > MOST_MEMBERS:
        raise Refused(f"{folder.name} holds more than {MOST_MEMBERS} files")
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if JUNK.search(name) or (path.is_dir() and not path.is_symlink()):
            continue
        if path.suffix.lower() != ".zip" or path.is_symlink():
            yield _file(path, name)
            continue
        try:
            yield from _zip(path, name, stack, budget, STUDENT_ZIP_BYTES)
        except Refused as error:
            yield Entry(name, name, None, _unreadable, str(error), owner=name[:-4])


def _file(path: Path, name: str) -> Entry:
    status = path.lstat()
    when = datetime.fromtimestamp(status.st_mtime).astimezone()
    problem = ""
    if stat.S_ISLNK(status.st_mode):
        problem = "it is a symbolic link; links are not followed"
    elif not stat.S_ISREG(status.st_mode):
        problem = "it is no ordinary file"
    elif path.suffix.lower() in ARCHIVES:
        problem = "only zip archives are read; unpack it and collect the folder"
    elif status.st_size > FILE_BYTES:
        problem = f"it is larger than {FILE_BYTES // MEBIBYTE} MiB"
    return Entry(name, name, when, path.read_bytes, problem)


def _zip(path: Path, inside: str, stack: ExitStack, budget: Budget, limit: int) -> Iterator[Entry]:
    """Yield the files of a zip. `inside` is its path in the folder; empty for the source itself.

    Raises:
        Refused: it cannot be read, or is too large.
    """
    if path.stat().st_size > limit:
        raise Refused(f"the zip is larger than {limit // MEBIBYTE} MiB")
    try:
        with path.open("rb") as file:
            if _directory_bytes(file) > DIRECTORY_BYTES:
                raise Refused(f"the zip lists more than {MOST_MEMBERS} files")
        archive = stack.enter_context(zipfile.ZipFile(path))
        members = archive.infolist()
    except Refused:
        raise
    except Exception as error:  # whatever is in the file, the others go on
        raise Refused(f"the zip is broken ({type(error).__name__}: {error})") from None
    if len(members) > MOST_MEMBERS:
        raise Refused(f"the zip lists more than {MOST_MEMBERS} files")
    seen: set[str] = set()
    for member in members:
        name = unicodedata.normalize("NFC", member.filename)
        if member.is_dir() or JUNK.search(name):
            continue
        problem = _member_problem(member, name)
        if not problem and name in seen:
            problem = "the zip holds two files of this name"
        seen.add(name)

        def read(member: zipfile.ZipInfo = member) -> bytes:
            return _read_member(archive, member, budget)

        origin = f"{inside}: {name}" if inside else name
        owner = inside[:-4]
        full = f"{owner}/{name}" if owner else name
        yield Entry(full, printable(origin), _member_time(member), read, problem, owner)


def _directory_bytes(file: BinaryIO) -> int:
    """Return the size of a zip's list of files, before it is read; 0 when there is none.

    The list is held in memory as a whole, so a zip that is all list has to be told beforehand.
    """
    size = file.seek(0, 2)
    length = min(size, END_BYTES + LONGEST_COMMENT + ZIP64_LOCATOR_BYTES)
    file.seek(size - length)
    tail = file.read(length)
    place = tail.rfind(END_RECORD)
    if place < 0 or len(tail) - place < END_BYTES:
        return 0
    directory = struct.unpack_from("<L", tail, place + 12)[0]
    locator = place - ZIP64_LOCATOR_BYTES
    if locator >= 0 and tail[locator : locator + 4] == ZIP64_LOCATOR:
        # Python takes these figures where they are there, and the record stands before them.
        start = size - length + locator - 56
        file.seek(max(start, 0))
        record = file.read(56)
        if len(record) == 56:
            directory = max(
                directory if directory != 0xFFFFFFFF else 0, struct.unpack_from("<Q", record, 40)[0]
            )
    return int(directory)


def _member_problem(member: zipfile.ZipInfo, name: str) -> str:
    parts = name.replace("\\", "/").split("/")
    mode = member.external_attr >> 16
    if len(name) > LONGEST_NAME:
        return f"its name has more than {LONGEST_NAME} characters"
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:[\\/]", name):
        return "its path leads out of the zip"
    if name != printable(name):
        return "its name holds characters that cannot be seen"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "it is a link or a device, no ordinary file"
    if member.flag_bits & 0x1:
        return "the zip is encrypted"
    if name.lower().endswith(ARCHIVES):
        return "an archive inside the zip: unpack the outer zip and collect the folder"
    if member.file_size > FILE_BYTES:
        return f"it unpacks to more than {FILE_BYTES // MEBIBYTE} MiB"
    crowded = member.file_size > HIGHEST_RATIO * max(member.compress_size, 1)
    if crowded and member.file_size > RATIO_FREE_BYTES:
        return f"it unpacks to more than {HIGHEST_RATIO} times its size, as a zip bomb does"
    return ""


def _member_time(member: zipfile.ZipInfo) -> datetime | None:
    """Return a member's date; zips hold local time without a zone, and 1980 for none."""
    try:
        when = datetime(*member.date_time).astimezone()
    except (ValueError, OverflowError, OSError):
        return None
    return when if when.year > 1980 else None


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget) -> bytes:
    """Return a member's bytes. What the zip says of its size is not believed."""
    content = bytearray()
    try:
        with archive.open(member) as file:
            while chunk := file.read(CHUNK):
                budget.spend(len(chunk))
                content += chunk
                if len(content) > FILE_BYTES:
                    raise Refused(f"it unpacks to more than {FILE_BYTES // MEBIBYTE} MiB")
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"it cannot be unpacked ({type(error).__name__}: {error})") from None
    return bytes(content)


def _unreadable() -> bytes:
    raise Refused("it cannot be read")


def printable(text: str) -> str:
    """Return text without control characters, direction marks and half characters."""
    return "".join(
        c for c in text if unicodedata.category(c) not in ("Cc", "Cs") and c not in DIRECTION_MARKS
    )
