"""Prints the OpenAPI document of the service with its default settings: `make openapi`."""

import json

from service.app import create_app
from service.settings import Settings

if __name__ == "__main__":
    document = create_app(Settings(model="artifact")).openapi()  # type: ignore[arg-type]  # not read
    print(json.dumps(document, indent=1, ensure_ascii=False))
