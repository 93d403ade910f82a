//! The JSON Schema of scenario files: what editors complete and mark by. It says what stands in [`super::keys`], and so what the parser
//! asks; what hangs on several keys at once - a fault after the end, a node that does not exist - only the parser knows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Takes;
use super::keys::{Key, ROOT, Shape, Table, tables};

/// The schema, draft 2020-12.
#[must_use]
pub fn schema() -> Value {
    let tables = tables();
    let definitions: Map<String, Value> = tables
        .iter()
        .filter(|(what, _)| *what != ROOT)
        .map(|(what, table)| (slug(what), object(table, &tables)))
        .collect();
    let mut root = object(&tables[ROOT], &tables);
    let fields = root.as_object_mut().expect("it is one");
    fields.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    fields.insert("title".to_owned(), "A scenario of marlos-sim".into());
    fields.insert("$defs".to_owned(), definitions.into());
    root
}

fn object(table: &Table, tables: &BTreeMap<String, Table>) -> Value {
    let properties: Map<String, Value> =
        table.keys.iter().map(|key| (key.name.clone(), property(key, tables))).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": table.needed,
        "additionalProperties": false,
    })
}

fn property(key: &Key, tables: &BTreeMap<String, Table>) -> Value {
    let mut property = any_of(&key.can_be, tables);
    if let (Some(fields), false) = (property.as_object_mut(), key.about.is_empty()) {
        fields.insert("description".to_owned(), key.about.clone().into());
    }
    property
}

fn any_of(shapes: &BTreeSet<Shape>, tables: &BTreeMap<String, Table>) -> Value {
    let mut each: Vec<Value> = shapes.iter().map(|shape| of_shape(shape, tables)).collect();
    match each.len() {
        0 => json!({}),
        1 => each.remove(0),
        _ => json!({ "anyOf": each }),
    }
}

fn of_shape(shape: &Shape, tables: &BTreeMap<String, Table>) -> Value {
    match shape {
        Shape::One(takes) => of_value(takes),
        Shape::List(elements) => json!({ "type": "array", "items": any_of(elements, tables) }),
        Shape::Table(what) => json!({ "$ref": format!("#/$defs/{}", slug(what)) }),
    }
}

fn of_value(takes: &Takes) -> Value {
    let text = |pattern: &str| json!({ "type": "string", "pattern": format!("^\\s*{pattern}\\s*$") });
    let number = r"[0-9]+(\.[0-9]*)?\s*";
    match takes {
        Takes::Text => json!({ "type": "string" }),
        Takes::Names(names) => json!({ "enum": names }),
        Takes::Flag => json!({ "type": "boolean" }),
        Takes::Whole(least, u64::MAX) => json!({ "type": "integer", "minimum": least }),
        Takes::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Takes::Signed(most) => json!({ "type": "integer", "minimum": -(most.cast_signed()), "maximum": most }),
        Takes::Millionths(least, most) => {
            json!({ "type": "number", "minimum": *least as f64 / 1e6, "maximum": *most as f64 / 1e6 })
        }
        Takes::Bound => json!({ "type": "number", "minimum": 0 }),
        Takes::Comparison => text(&format!("(>=|<=|==|>|<)\\s*{number}")),
        Takes::Duration(..) => text(&format!("{number}(us|ms|s|m|min|h|d)")),
        Takes::SignedDuration(_) => text(&format!("-?{number}(us|ms|s|m|min|h|d)")),
        Takes::Percentage => text(&format!("{number}%")),
        Takes::Bandwidth => text(&format!("(unlimited|{number}[GMk]?bit/s)")),
        Takes::Bytes(..) => text(&format!("{number}(MiB|KiB|MB|kB|B)")),
    }
}

/// A name for a definition: letters, digits and dashes.
fn slug(what: &str) -> String {
    let words = what.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}
