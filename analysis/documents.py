"""Documents: the one place that speaks to MongoDB. Hosts write with it, the server reads with it; no Django.

Every write is acknowledged by a majority and journalled (``w=majority, j=true``), every read is from the primary,
every wait is short. Only the commands in :data:`COMMANDS` and the filter operators in :data:`OPERATORS` are used,
because the embedded stand-in offers no more; each is tested on the stand-in, and on a real server when
``OCTOLAB_TEST_MONGO_URL`` is set.

NaN and infinities, which the stand-in refuses on insert and turns into null on update, are written as
``{"__float__": "nan"}`` and read back as floats. Documents hold scalars: arrays belong into HDF5
(:mod:`analysis.arrays`) and are refused. The top-level names of a document are identifiers; inside, any text is a
name. A collection is not named like a word of SQL (the stand-in breaks on ``values``). Date-times are stored in
UTC to the millisecond.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bson.codec_options import CodecOptions
from bson.errors import BSONError
from pymongo import MongoClient, ReadPreference, UpdateOne, WriteConcern
from pymongo.database import Database
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
    WTimeoutError,
)

Document = dict[str, Any]

COMMANDS = frozenset({"hello", "ping", "find", "getMore", "insert", "update", "createIndexes", "endSessions"})
"""The commands that may be sent to a server."""

OPERATORS = frozenset({"$in", "$gt", "$gte", "$lt", "$lte"})
"""What a filter may use beside plain equality."""

RESULTS = "results"
"""One document per run and member, written by the hosts."""
ANALYSES = "analyses"
"""One document per routine and run, see :mod:`analysis.processing`."""

INDEXES: Mapping[str, tuple[str, ...]] = {
    "attempts": ("state",),
    "controls": ("attempt_id",),
    "run_starts": ("job_id",),
    "descriptors": ("run_start",),
    "events": ("descriptor",),
    "run_stops": ("run_start",),
    RESULTS: ("job_id",),
    ANALYSES: ("job_id",),
    "wire_log": ("attempt_id",),
}
"""Collection → fields that are searched for."""

SELECTION_TIMEOUT_MS = 2_000
CONNECT_TIMEOUT_MS = 2_000
ANSWER_TIMEOUT_MS = 10_000
MAX_IDS_PER_QUERY = 1_000
CLAIM_TRIES = 3

_DUPLICATE_KEY = 11000
_OUT_OF_DISK_SPACE = 14031
_PASSES = re.compile(r"disk is full|no space left|database is locked|disk I/O error", re.IGNORECASE)
"""What a store says that cannot write anything at the moment; the stand-in has one error code for all refusals."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FLOAT = "__float__"
_VALUE = "__value__"
_LITERAL = "__literal__"


class StoreError(Exception):
    """The document store could not do what was asked."""


class StoreUnavailableError(StoreError):
    """The document store cannot be reached, or gave no answer in time.

    A write may or may not have happened: repeat it (inserts and claims are harmless to repeat) or read back.
    """


class DocumentRefusedError(StoreError, ValueError):
    """The document, condition or filter can never be stored or asked for as it is."""


class DocumentStore:
    """One database of documents.

    Parameters
    ----------
    url
        ``mongodb://host:port/database``; the database is ``octolab`` if the URL names none. Nothing is connected
        before the first use, so a store may be built before a fork.
    """

    def __init__(self, url: str) -> None:
        # pymongo retries writes only where the server can tell a repetition (replica sets); the stand-in cannot.
        self._client: MongoClient[Document] = MongoClient(
            url,
            connect=False,
            serverSelectionTimeoutMS=SELECTION_TIMEOUT_MS,
            connectTimeoutMS=CONNECT_TIMEOUT_MS,
            socketTimeoutMS=ANSWER_TIMEOUT_MS,
            appname="octolab",
        )
        self.database: Database[Document] = self._client.get_default_database(
            "octolab",
            codec_options=CodecOptions(tz_aware=True),
            read_preference=ReadPreference.PRIMARY,
            write_concern=WriteConcern(w="majority", j=True),
        )

    def ping(self) -> None:
        """Raise :class:`StoreUnavailableError` unless the store answers."""
        with _translated():
            self.database.command("ping")

    def prepare(self) -> None:
        """Create the indexes of :data:`INDEXES`; harmless to repeat."""
        with _translated():
            for collection, fields in INDEXES.items():
                for field in fields:
                    self.database[collection].create_index([(field, 1)])

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def insert_many(self, collection: str, documents: Sequence[Mapping[str, Any]]) -> list[bool]:
        """Insert documents, each on its own.

        Returns
        -------
        list of bool
            One per document, in order: False where a document of that ``_id`` was there before.

        Raises
        ------
        StoreUnavailableError
            Some may be stored: repeat the same call.
        DocumentRefusedError
            If one can never be stored; those beside it are.
        """
        if not documents:
            return []
        encoded = [_checked(document) for document in documents]
        inserted = [True] * len(documents)
        with _translated():
            try:
                self.database[collection].insert_many(encoded, ordered=False)
            except BulkWriteError as error:
                details = error.details or {}
                if details.get("writeConcernErrors"):
                    raise StoreUnavailableError(f"{collection}: written, but not acknowledged by a majority") from error
                for problem in details.get("writeErrors", []):
                    if _passes(problem):
                        raise StoreUnavailableError(f"{collection}: {problem['errmsg']}") from error
                    if problem["code"] != _DUPLICATE_KEY:
                        raise DocumentRefusedError(f"{collection}: {problem['errmsg']}") from error
                    inserted[problem["index"]] = False
        return inserted

    def claim(self, collection: str, document: Mapping[str, Any], nonce: str) -> bool:
        """Insert a document that only one may insert; the field ``nonce`` tells who did.

        The answer to an insert may be lost, so after any doubt the document is read back and compared.

        Returns
        -------
        bool
            Whether the stored document carries this nonce.

        Raises
        ------
        StoreUnavailableError
            Unknown: the claim may exist. Ask again with the same nonce.
        """
        claimed = {**document, "nonce": nonce}
        unavailable: StoreUnavailableError | None = None
        for _ in range(CLAIM_TRIES):
            try:
                if self.insert_many(collection, [claimed])[0]:
                    return True
                found = self.find_ids(collection, [claimed["_id"]])
                return bool(found) and found[0].get("nonce") == nonce
            except StoreUnavailableError as error:
                unavailable = error
        raise unavailable or StoreUnavailableError(f"{collection}: the claim could not be decided")

    def update_if(self, collection: str, _id: str, condition: Mapping[str, Any], changes: Mapping[str, Any]) -> bool:
        """Set top-level fields of one document if its other fields are as the condition says.

        Returns
        -------
        bool
            Whether the document was there and met the condition, so that the changes stand.

        Raises
        ------
        StoreUnavailableError
            Unknown: read back.
        """
        changed = _changes(_checked({**changes, "_id": _id}))
        del changed["_id"]
        with _translated():
            result = self.database[collection].update_one({**_filter(condition), "_id": _id}, {"$set": changed})
        return result.matched_count == 1

    def update_each(
        self, collection: str, updates: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]]
    ) -> list[bool]:
        """Do many :meth:`update_if` at once: one (``_id``, condition, changes) per document.

        Returns
        -------
        list of bool
            One per update, in order: whether its changes stand.

        Raises
        ------
        StoreUnavailableError
            Some may stand: read back, or repeat what is harmless to repeat.
        DocumentRefusedError
            If one can never be stored; nothing is said about the others.
        """
        if len(updates) == 1:
            return [self.update_if(collection, *updates[0])]
        operations = []
        for _id, condition, changes in updates:
            changed = _changes(_checked({**changes, "_id": _id}))
            del changed["_id"]
            operations.append(UpdateOne({**_filter(condition), "_id": _id}, {"$set": changed}))
        if not operations:
            return []
        with _translated():
            result = self.database[collection].bulk_write(operations, ordered=False)
        if result.matched_count == len(updates):
            return [True] * len(updates)
        # The server only counts; which ones met their condition shows in what they look like now.
        found = {document["_id"]: document for document in self.find_ids(collection, [update[0] for update in updates])}
        return [
            _id in found and all(_encode(found[_id].get(name)) == _encode(value) for name, value in changes.items())
            for _id, _, changes in updates
        ]

    def upsert(self, collection: str, document: Mapping[str, Any]) -> None:
        """Set all fields of a document, which is created if need be. Fields not named keep their value."""
        changes = _changes(_checked(document))
        _id = changes.pop("_id")
        # Not `replace_one`: on the stand-in an upserting replacement loses the `_id`.
        with _translated():
            self.database[collection].update_one({"_id": _id}, {"$set": changes}, upsert=True)

    def find_ids(self, collection: str, ids: Iterable[str]) -> list[Document]:
        """Return the documents of these ids that exist, in the order of the ids."""
        wanted = list(dict.fromkeys(ids))
        found: dict[str, Document] = {}
        for start in range(0, len(wanted), MAX_IDS_PER_QUERY):
            chunk = wanted[start : start + MAX_IDS_PER_QUERY]
            # Equality uses the index on the stand-in where `$in` scans.
            for document in self.find(collection, {"_id": chunk[0] if len(chunk) == 1 else {"$in": chunk}}):
                found[document["_id"]] = document
        return [found[_id] for _id in wanted if _id in found]

    def find(
        self,
        collection: str,
        filter: Mapping[str, Any] | None = None,
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
    ) -> list[Document]:
        """Return the documents that match.

        Parameters
        ----------
        filter
            Top-level field → text or whole number, or → operators of :data:`OPERATORS`.
        sort
            Pairs of field and 1 (ascending) or -1.
        limit
            The most documents; 0 for all.
        """
        with _translated():
            cursor = self.database[collection].find(_filter(filter or {}), limit=limit)
            return [_decode(document) for document in (cursor.sort(list(sort)) if sort else cursor)]


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the driver's errors into ours, so that no caller needs to know pymongo."""
    try:
        yield
    except (ConnectionFailure, ExecutionTimeout, WaitQueueTimeoutError, WTimeoutError) as error:
        raise StoreUnavailableError(f"the document store does not answer: {error}") from error
    except (DocumentTooLarge, BSONError, OverflowError, UnicodeEncodeError, DuplicateKeyError) as error:
        raise DocumentRefusedError(f"the document cannot be stored: {error}") from error
    except OperationFailure as error:
        details = error.details or {"errmsg": str(error)}
        for problem in details.get("writeErrors") or [details]:
            if _passes(problem):
                raise StoreUnavailableError(f"the document store cannot write now: {problem['errmsg']}") from error
        raise DocumentRefusedError(f"the document store refuses: {error}") from error
    except PyMongoError as error:
        raise StoreError(f"the document store failed: {error}") from error


def _passes(problem: Mapping[str, Any]) -> bool:
    """Whether the same write may succeed later: the server refuses because of its own state, not of the document."""
    return problem.get("code") == _OUT_OF_DISK_SPACE or bool(_PASSES.search(str(problem.get("errmsg", ""))))


def _checked(document: Mapping[str, Any]) -> Document:
    """Encode a document for the store; refuse what the store would keep only by half."""
    if not isinstance(document.get("_id"), str):
        raise DocumentRefusedError(f"a document needs an _id that is text, not {document.get('_id')!r}")
    for name in document:
        _check_name(name)
    return {name: _encode(value) for name, value in document.items()}


def _check_name(name: str) -> None:
    # The stand-in puts names into SQL paths.
    if not _NAME.fullmatch(name):
        raise DocumentRefusedError(f"{name!r} cannot be the name of a field: use letters, digits and underscores")


def _changes(fields: Mapping[str, Any]) -> Document:
    """Wrap what `$set` sets: the stand-in keeps a bare true as 1, and of a bare float only 15 digits."""
    return {name: {_VALUE: value} if isinstance(value, bool | float) else value for name, value in fields.items()}


def _filter(filter: Mapping[str, Any]) -> Document:
    for name, value in filter.items():
        _check_name(name)
        operands: Iterable[Any] = [value]
        if isinstance(value, Mapping):
            if unknown := set(value) - OPERATORS:
                raise DocumentRefusedError(f"a filter may use {sorted(OPERATORS)}, not {sorted(unknown)}")
            operands = [x for op, operand in value.items() for x in (operand if op == "$in" else [operand])]
        for operand in operands:
            # The stand-in cannot compare anything else as MongoDB does.
            if isinstance(operand, bool) or not isinstance(operand, str | int | None):
                raise DocumentRefusedError(f"a filter compares text and whole numbers, not {operand!r}")
    return dict(filter)


def _encode(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return {_FLOAT: "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"}
        case Mapping():
            encoded = {key: _encode(item) for key, item in value.items()}
            return {_LITERAL: encoded} if value.keys() & {_VALUE, _FLOAT, _LITERAL} else encoded
        case list() | tuple():
            return [_encode(item) for item in value]
    # A numpy scalar has a dtype; a host has numpy, but this file need not import it.
    if hasattr(value, "dtype"):
        if getattr(value, "shape", None) != ():
            raise DocumentRefusedError("an array cannot be stored in a document; write it to the attempt's HDF5 file")
        return _encode(value.item())
    return value


def _decode(value: Any) -> Any:
    match value:
        case {"__float__": str(text)}:
            return float(text)
        case {"__value__": bool() | float() as bare}:
            return bare
        case {"__literal__": dict(literal)}:
            return {key: _decode(item) for key, item in literal.items()}
        case dict():
            return {key: _decode(item) for key, item in value.items()}
        case list():
            return [_decode(item) for item in value]
    return value
