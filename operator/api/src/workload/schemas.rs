//! Schemas of maps, with the bounds that a derive cannot give them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::values::Quantity;

/// Labels: values as Kubernetes takes them.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$" }
    })
}

/// Annotations: free text.
pub(super) fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 4096 }
    })
}

/// Amounts of devices by name.
pub(super) fn devices(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 8,
        "additionalProperties": Quantity::json_schema(generator)
    })
}
