"""One file on its way: resumed where it broke off, checked, and only then given its name."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import Any

import httpx

from .errors import CorruptDownloadError


class Download:
    """A file that the server offers.

    Parameters
    ----------
    file
        The server's entry: ``name``, ``href``, ``sha256``, ``bytes``.
    folder
        Where the file goes, under the last part of its name.
    """

    def __init__(self, file: dict[str, Any], folder: Path) -> None:
        self.url: str = file["href"]
        self._bytes = int(file["bytes"])
        self._sha256: str = file["sha256"]
        # A server is no reason to write outside of the folder.
        self.path = folder / (PurePosixPath(file["name"]).name or "file")
        self._part = self.path.with_name(f"{self.path.name}.part")

    @property
    def complete(self) -> bool:
        """Whether the file is there, with the right checksum."""
        return self.path.is_file() and self._has_checksum(self.path)

    @property
    def headers(self) -> dict[str, str]:
        """What asks for the missing rest; no encoding, since a range counts the file's own bytes."""
        have = self._part.stat().st_size if self._part.is_file() else 0
        if have >= self._bytes:
            self._part.unlink(missing_ok=True)
            have = 0
        return {"Accept": "*/*", "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}

    def receive(self, response: httpx.Response) -> None:
        """Write what arrives; when all is there, check it and give the file its name.

        Raises
        ------
        CorruptDownloadError
            If the checksum is wrong.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._part.open("ab" if response.status_code == 206 else "wb") as file:
            for data in response.iter_raw():
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not self._has_checksum(self._part):
            self._part.unlink()
            raise CorruptDownloadError(f"{self.path.name} arrived with another checksum than the server told")
        self._part.replace(self.path)

    def _has_checksum(self, path: Path) -> bool:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self._sha256
