"""Files of ``/v1/files`` that a request names, and what they are called where they are put."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from app.api.edge.auth import Caller
from app.api.files.filenames import base_name
from app.errors import RequestError
from app.ids import is_id
from app.store.blobs import no_such_file
from app.store.database import Store
from app.store.files import FileRecord

#: Files that one request may name. They are looked up by one question to the database.
NAMED_LIMIT = 1000


async def find_file(store: Store, caller: Caller, file_id: str) -> FileRecord:
    """
    Raises:
        RequestError: 404, the caller has no such file.
    """
    record = await store.files.get(file_id, owner=caller.name)
    if record is None:
        raise no_such_file(file_id)
    return record


async def find_files(
    store: Store, caller: Caller, ids: Iterable[str], *, param: str, optional: Set[str] = frozenset()
) -> list[FileRecord]:
    """Each once. Of ``optional`` ones those that are not there are left out.

    Raises:
        RequestError: one of them is none of the caller's, or they are too many.
    """
    wanted = list(dict.fromkeys(ids))
    if len(wanted) > NAMED_LIMIT:
        raise RequestError(f"A request can name at most {NAMED_LIMIT} files.", param=param)
    if not all(map(is_id, wanted)):
        raise RequestError("A file's id is printable ASCII.", param=param)
    found = {record.id: record for record in await store.files.get_all(wanted, owner=caller.name)} if wanted else {}
    for id in wanted:
        if id not in found and id not in optional:
            raise no_such_file(id)
    return [found[id] for id in wanted if id in found]


def file_names(records: Sequence[FileRecord]) -> dict[str, str]:
    """How files are called in a container, by id. A name that is taken is told apart by the id."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for record in records:
        name = base_name(record.filename)
        names[record.id] = name if name not in taken else base_name(f"{record.id}-{name}")
        taken.add(names[record.id])
    return names
