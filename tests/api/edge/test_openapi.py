from __future__ import annotations

import json
from typing import Annotated

from fastapi import FastAPI, Query

from app.api.edge.errors import install
from app.api.files import routes as files
from app.api.responses import stored


def test_every_operation_documents_our_errors_and_none_fastapis() -> None:
    app = FastAPI()
    install(app)
    app.include_router(files.router)
    app.include_router(stored.router)

    @app.get("/things")
    async def things(limit: Annotated[int, Query(ge=1)]) -> int:
        return limit

    document = app.openapi()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == 9
    for operation in operations:
        assert operation["responses"].keys() == {"200", "default"}
        assert operation["responses"]["default"]["content"]["application/json"]["schema"] == {
            "$ref": "#/components/schemas/Error"
        }
    assert "ValidationError" not in json.dumps(document)
    assert document["components"]["schemas"]["Error"]["properties"]["error"]["required"]
    assert app.openapi() is document
    upload = document["paths"]["/v1/files"]["post"]["requestBody"]["content"]
    assert upload.keys() == {"multipart/form-data"}
