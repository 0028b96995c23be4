//! Parameters, checked against the schema that a component states.

use serde_json::Value;

use crate::LoadError;

/// Checks `parameters` of `policy`.
pub(crate) fn check(policy: &str, schema: &str, parameters: &Value) -> Result<(), LoadError> {
    let wrong = |at: String, why: String| LoadError::Parameters {
        policy: policy.to_owned(),
        at,
        why,
    };
    if schema.trim().is_empty() {
        return match parameters.as_object() {
            Some(none) if none.is_empty() => Ok(()),
            _ => Err(wrong(String::new(), "it takes none".to_owned())),
        };
    }
    let bad = |why: String| LoadError::Schema {
        policy: policy.to_owned(),
        why,
    };
    if schema.len() > LARGEST_SCHEMA {
        return Err(bad(format!("it has more than {LARGEST_SCHEMA} bytes")));
    }
    let schema: Value = serde_json::from_str(schema).map_err(|error| bad(error.to_string()))?;
    if refers(&schema) {
        // One that refers to itself would never end.
        return Err(bad("it must not use $ref".to_owned()));
    }
    let validator =
        jsonschema::draft202012::new(&schema).map_err(|error| bad(error.to_string()))?;
    match validator.iter_errors(parameters).next() {
        None => Ok(()),
        Some(error) => {
            let path = error.instance_path.to_string();
            let at = if path.is_empty() {
                String::new()
            } else {
                format!(" {path}")
            };
            Err(wrong(at, shortened(&error.to_string())))
        }
    }
}

/// No schema has more bytes.
const LARGEST_SCHEMA: usize = 1 << 20;

/// Whether a schema refers to a schema.
fn refers(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.iter().any(|(key, value)| {
            matches!(key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef") || refers(value)
        }),
        Value::Array(list) => list.iter().any(refers),
        _ => false,
    }
}

/// A parameter can be a whole document.
fn shortened(why: &str) -> String {
    const LONGEST: usize = 300;
    if why.chars().count() <= LONGEST {
        return why.to_owned();
    }
    let head: String = why.chars().take(LONGEST / 2).collect();
    let tail: Vec<char> = why.chars().rev().take(LONGEST / 2).collect();
    let tail: String = tail.into_iter().rev().collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn checked() {
        let schema = r#"{"type": "object", "additionalProperties": false,
            "properties": {"depth": {"type": "integer", "minimum": 1}}}"#;
        let why = |schema, parameters| check("p 1", schema, &parameters).unwrap_err().to_string();
        check("p 1", schema, &json!({"depth": 1})).unwrap();
        check("p 1", "", &json!({})).unwrap();
        assert!(why("", json!({"a": 1})).contains("takes none"));
        assert!(why(schema, json!({"depth": 0})).contains("/depth"));
        assert!(why(schema, json!({"deep": 0})).contains("deep"));
        assert!(why(r##"{"allOf": [{"$ref": "#"}]}"##, json!({})).contains("$ref"));
        assert!(why("{", json!({})).contains("schema"));
        assert!(why(r#"{"type": 3}"#, json!({})).contains("schema"));
        let long = json!({"depth": "x".repeat(10_000)});
        assert!(why(schema, long).len() < 600);
    }
}
