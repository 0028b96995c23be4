//! How people name policies: `[INTERFACE=]REFERENCE[=PARAMETERS]`.
//!
//! ```text
//! adaptive                                a policy that is built in
//! span=adaptive=small=1048576             for one thing only, with a parameter
//! profile=trace=@start.json               a parameter that is the JSON in a file
//! ./my-policy.wasm={"depth": 3}           a component, with parameters as JSON
//! oci://registry.example/policies/x:1     a component in a registry
//! ```
//!
//! Parameters are a JSON object, or `NAME=VALUE[,NAME=VALUE…]`, where a value is JSON, `@FILE` for the JSON in a file, or else a
//! text. A file that is called like an interface or like a policy that is built in is named with a `./` before it.

use std::io;

use serde_json::{Map, Value};

use crate::{Interface, builtin};

/// A policy that somebody named.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// What to use it for, if not for all that it decides.
    pub interface: Option<Interface>,
    /// Which it is.
    pub reference: String,
    /// A JSON object.
    pub parameters: Value,
}

/// The build context with a build's components and files of parameters.
pub const CONTEXT: &str = "policy";
/// Components in a registry begin with this.
pub const REGISTRY: &str = "oci://";

/// Where the policy is that a reference names, as far as its text tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A plain word: in the program, if there is one of that name.
    BuiltIn,
    /// In a registry: `HOST/REPOSITORY:TAG[@DIGEST]`.
    Registry(&'a str),
    /// Where an image can be, as skopeo writes it.
    Transport(&'a str),
    /// In a file.
    File(&'a str),
}

impl<'a> Place<'a> {
    /// Reads a reference.
    #[must_use]
    pub fn of(reference: &'a str) -> Self {
        let transports = ["docker://", "oci:", "oci-archive:"];
        if let Some(reference) = reference.strip_prefix(REGISTRY) {
            Self::Registry(reference)
        } else if transports.iter().any(|begin| reference.starts_with(begin)) {
            Self::Transport(reference)
        } else if reference.contains(['/', '.', ':']) {
            Self::File(reference)
        } else {
            Self::BuiltIn
        }
    }
}

/// Why a text names no policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// There is no reference.
    #[error("{0:?} names no policy; it has the form [INTERFACE=]POLICY[=PARAMETERS]")]
    Empty(String),
    /// The parameters look like JSON and are none, or no object.
    #[error("the parameters of {reference} are no JSON object: {why}")]
    Json {
        /// The policy.
        reference: String,
        /// What is wrong.
        why: String,
    },
    /// A parameter has no name, or no value.
    #[error(
        "the parameter {parameter:?} of {reference} has not the form NAME=VALUE{}",
        no_interface(.reference)
    )]
    Pair {
        /// The policy.
        reference: String,
        /// The parameter.
        parameter: String,
    },
    /// A file with a parameter could not be read.
    #[error(
        "the parameter {name} of {reference} shall be in the file {file}, which cannot be read: {source}"
    )]
    File {
        /// The policy.
        reference: String,
        /// The parameter.
        name: String,
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A file with a parameter holds no JSON.
    #[error(
        "the parameter {name} of {reference} shall be in the file {file}, which is no JSON: {source}"
    )]
    FileJson {
        /// The policy.
        reference: String,
        /// The parameter.
        name: String,
        /// The file.
        file: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// What a plain word before `=` may have been meant to be.
fn no_interface(reference: &str) -> String {
    if Place::of(reference) != Place::BuiltIn || builtin::is(reference) {
        return String::new();
    }
    let names = Interface::ALL.map(Interface::name);
    format!(
        "; {reference:?} is no interface: there are {}",
        names.join(", ")
    )
}

impl Spec {
    /// Reads what somebody wrote; `read` reads files.
    ///
    /// # Errors
    /// [`SpecError`].
    pub fn parse(
        text: &str,
        read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Self, SpecError> {
        let (interface, reference, parameters) = parts(text);
        if reference.is_empty() {
            return Err(SpecError::Empty(text.to_owned()));
        }
        Ok(Self {
            interface,
            reference: reference.to_owned(),
            parameters: parse_parameters(reference, parameters, read)?,
        })
    }
}

fn parts(text: &str) -> (Option<Interface>, &str, &str) {
    let (interface, rest) = match text.split_once('=') {
        Some((name, rest)) => match Interface::named(name) {
            Some(interface) => (Some(interface), rest),
            None => (None, text),
        },
        None => (None, text),
    };
    let (reference, parameters) = rest.split_once('=').unwrap_or((rest, ""));
    (interface, reference, parameters)
}

/// Several, separated by semicolons; those within JSON do not count.
#[must_use]
pub fn list(text: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let separates = |c: char| {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
            return false;
        }
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            '"' => quoted = depth > 0,
            _ => {}
        }
        c == ';' && depth == 0
    };
    let parts = text.split(separates).map(str::trim);
    parts.filter(|part| !part.is_empty()).collect()
}

/// What somebody wrote, with other names for the policy and for the files that parameters are in.
#[must_use]
pub fn renamed(text: &str, rename: &mut dyn FnMut(Named<'_>) -> String) -> String {
    let (interface, reference, parameters) = parts(text);
    let mut out = interface.map_or_else(String::new, |interface| format!("{interface}="));
    out.push_str(&rename(Named::Policy(reference)));
    if parameters.trim_start().starts_with(['{', '[']) {
        return out + "=" + parameters;
    }
    let pairs = parameters.split(',').filter(|pair| !pair.is_empty());
    for (number, pair) in pairs.enumerate() {
        out.push(if number == 0 { '=' } else { ',' });
        match pair.split_once("=@") {
            Some((name, file)) if !name.contains('=') => {
                out.push_str(name);
                out.push_str("=@");
                out.push_str(&rename(Named::File(file)));
            }
            _ => out.push_str(pair),
        }
    }
    out
}

/// What [`renamed`] can give another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// A policy.
    Policy(&'a str),
    /// A file that holds a parameter.
    File(&'a str),
}

/// Reads parameters of the policy called `reference`; `read` reads files.
///
/// # Errors
/// [`SpecError`].
pub fn parse_parameters(
    reference: &str,
    text: &str,
    read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<Value, SpecError> {
    let text = text.trim();
    if text.starts_with(['{', '[']) {
        let json = |why: String| SpecError::Json {
            reference: reference.to_owned(),
            why,
        };
        let value: Value = serde_json::from_str(text).map_err(|error| json(error.to_string()))?;
        return if value.is_object() {
            Ok(value)
        } else {
            Err(json("it is a list".to_owned()))
        };
    }
    let mut parameters = Map::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => (name, value),
            _ => {
                return Err(SpecError::Pair {
                    reference: reference.to_owned(),
                    parameter: pair.to_owned(),
                });
            }
        };
        let value = match value.strip_prefix('@') {
            Some(file) => from_file(reference, name, file, read)?,
            None => serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
        };
        parameters.insert(name.to_owned(), value);
    }
    Ok(Value::Object(parameters))
}

fn from_file(
    reference: &str,
    name: &str,
    file: &str,
    read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<Value, SpecError> {
    let owned = || (reference.to_owned(), name.to_owned(), file.to_owned());
    let bytes = read(file).map_err(|source| {
        let (reference, name, file) = owned();
        SpecError::File {
            reference,
            name,
            file,
            source,
        }
    })?;
    serde_json::from_slice(&bytes).map_err(|source| {
        let (reference, name, file) = owned();
        SpecError::FileJson {
            reference,
            name,
            file,
            source,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[allow(clippy::unnecessary_wraps, reason = "as a file would be read")]
    fn read(file: &str) -> io::Result<Vec<u8>> {
        match file {
            "start.json" => Ok(b"{\"format\": 1}".to_vec()),
            "bad" => Ok(b"{".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    #[test]
    fn what_people_write() {
        let parse = |text: &str| {
            let spec = Spec::parse(text, &read).unwrap();
            (spec.interface, spec.reference, spec.parameters)
        };
        let spec =
            |interface, reference: &str, parameters| (interface, reference.to_owned(), parameters);
        assert_eq!(parse("adaptive"), spec(None, "adaptive", json!({})));
        assert_eq!(
            parse("span=adaptive=small=1,name=a b"),
            spec(
                Some(Interface::Span),
                "adaptive",
                json!({"small": 1, "name": "a b"})
            )
        );
        assert_eq!(
            parse("profile=trace=@start.json"),
            spec(None, "profile", json!({"trace": {"format": 1}}))
        );
        assert_eq!(
            parse("oci://host:5000/x:1@sha256:0={\"a\": \"b=c\"}"),
            spec(None, "oci://host:5000/x:1@sha256:0", json!({"a": "b=c"}))
        );
        assert_eq!(parse("./span"), spec(None, "./span", json!({})));
    }

    #[test]
    fn places() {
        for (reference, place) in [
            ("adaptive", Place::BuiltIn),
            ("./adaptive", Place::File("./adaptive")),
            ("my.wasm", Place::File("my.wasm")),
            ("oci://r.example/x:1", Place::Registry("r.example/x:1")),
            ("oci:layout:1", Place::Transport("oci:layout:1")),
            ("oci-archive:a.tar", Place::Transport("oci-archive:a.tar")),
            ("docker://r/x:1", Place::Transport("docker://r/x:1")),
            ("adaptive:1", Place::File("adaptive:1")),
        ] {
            assert_eq!(Place::of(reference), place, "{reference}");
        }
    }

    #[test]
    fn several() {
        assert_eq!(list(" a ;b=c;; "), ["a", "b=c"]);
        let json = r#"x={"a": "\";}", "b": [";"]}"#;
        assert_eq!(list(&format!("{json};y")), [json, "y"]);
        assert_eq!(list("x=a=\"b;c"), ["x=a=\"b", "c"]);
    }

    #[test]
    fn other_names() {
        let other = |text: &str| {
            renamed(text, &mut |named| match named {
                Named::Policy(name) => format!("p/{name}"),
                Named::File(name) => format!("f/{name}"),
            })
        };
        assert_eq!(
            other("span=x.wasm=trace=@a,b=c"),
            "span=p/x.wasm=trace=@f/a,b=c"
        );
        assert_eq!(
            other("x.wasm={\"a\": \"=@b\"}"),
            "p/x.wasm={\"a\": \"=@b\"}"
        );
        assert_eq!(other("x"), "p/x");
    }

    #[test]
    fn what_is_no_policy() {
        let refused = |text: &str| Spec::parse(text, &read).unwrap_err().to_string();
        assert!(refused("").contains("names no policy"));
        assert!(refused("span=").contains("names no policy"));
        assert!(refused("x={\"a\"").contains("no JSON object"));
        assert!(refused("x=[1]").contains("list"));
        assert!(refused("x=a").contains("NAME=VALUE"));
        assert!(refused("spam=./x.wasm").contains("no interface"));
        assert!(!refused("./x=a").contains("no interface"));
        assert!(refused("x=a=@nowhere").contains("nowhere"));
        assert!(refused("x=a=@bad").contains("no JSON"));
    }
}
