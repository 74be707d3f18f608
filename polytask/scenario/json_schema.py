"""The JSON Schema of the scenario file, scenarios/scenario.schema.json, with which editors complete and check it."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from polytask.scenario.schema import DEFAULT_LANGUAGE_MODEL, Scenario


class _FileSchema(GenerateJsonSchema):
    """Keeps the order of the models and the examples, and omits titles of fields, which repeat their names."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def scenario_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a scenario file.

    It has the type, bounds, default, description and example of every field. Checks across fields are not part of it:
    `polytask check` runs them.
    """
    schema = Scenario.model_json_schema(schema_generator=_FileSchema)
    # The encoder is optional in the file: it is set while the file is read, so the model has no default for it.
    schema["required"].remove("encoder")
    schema["properties"]["encoder"]["default"] = {"model": DEFAULT_LANGUAGE_MODEL}
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def json_schema_text(schema: Mapping[str, Any]) -> str:
    """Return the content of the committed file for `schema`."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
