//! One value of `-o/--output`, as buildx reads it: `type=oci,dest=FILE`, a line of CSV.

use super::flags::is_true;

/// Where a build's result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Export {
    /// `image`, `registry`, `oci`, `docker`, `local`, `tar`, `cacheonly`, or one to come.
    pub(super) kind: String,
    /// Everything else, in the user's order.
    attributes: Vec<(String, String)>,
}

impl Export {
    /// `None` if buildx would refuse it, which it then says itself.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fields = fields(text)?;
        let new = |kind: &str, attributes| Self {
            kind: kind.to_owned(),
            attributes,
        };
        if let [only] = &fields[..]
            && only == text
            && !only.starts_with("type=")
        {
            let kind = if only == "-" { "tar" } else { "local" };
            return Some(new(kind, vec![("dest".to_owned(), only.clone())]));
        }
        let mut kind = None;
        let mut attributes = Vec::new();
        for field in &fields {
            let (key, value) = field.split_once('=')?;
            match key.trim().to_lowercase() {
                key if key == "type" => kind = Some(value),
                key => attributes.push((key, value.to_owned())),
            }
        }
        Some(new(kind.filter(|kind| !kind.is_empty())?, attributes))
    }

    /// The value of an attribute: the last one counts.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(is_true)
    }

    /// Whether it is pushed, as far as this value says so.
    pub(super) fn is_pushed(&self) -> bool {
        self.kind == "registry" || (self.kind == "image" && self.is_on("push"))
    }

    /// The file or directory that it goes to; `-` is standard output.
    pub(super) fn dest(&self) -> Option<&str> {
        self.get("dest").filter(|dest| !dest.is_empty())
    }

    /// The names of its attributes.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|(key, _)| key.as_str())
    }
}

/// The fields of a line of CSV.
pub(super) fn fields(line: &str) -> Option<Vec<String>> {
    let reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(line.as_bytes());
    let record = reader.into_records().next()?.ok()?;
    Some(record.iter().map(str::to_owned).collect())
}

/// A line of CSV of fields, quoted where needed.
pub(super) fn line<const N: usize>(fields: [&str; N]) -> String {
    let quoted = fields.map(|field| {
        if field.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.to_owned()
        }
    });
    quoted.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_buildx_reads_them() {
        for (text, kind, attributes) in [
            ("-", "tar", &[("dest", "-")][..]),
            ("out", "local", &[("dest", "out")]),
            ("out/a=b", "local", &[("dest", "out/a=b")]),
            ("type=registry", "registry", &[]),
            ("type=oci,dest=a.tar", "oci", &[("dest", "a.tar")]),
            ("dest=a.tar,type=oci", "oci", &[("dest", "a.tar")]),
            ("Type=oci, Dest=a.tar", "oci", &[("dest", "a.tar")]),
            (
                "type=image,\"name=a,b\",push=true",
                "image",
                &[("name", "a,b"), ("push", "true")],
            ),
            ("type=local,dest=a=b", "local", &[("dest", "a=b")]),
        ] {
            let attributes = attributes
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect();
            let kind = kind.to_owned();
            assert_eq!(
                Export::parse(text),
                Some(Export { kind, attributes }),
                "{text}"
            );
        }
    }

    #[test]
    fn what_buildx_refuses() {
        for text in ["", "type=", "type=oci,dest", "dest=x,push=true"] {
            assert_eq!(Export::parse(text), None, "{text}");
        }
    }

    #[test]
    fn pushed() {
        let pushed = |text: &str| Export::parse(text).expect("an output").is_pushed();
        assert!(pushed("type=registry"));
        assert!(pushed("type=image,push=true"));
        assert!(pushed("type=image,push=1"));
        assert!(!pushed("type=image"));
        assert!(!pushed("type=image,push=false"));
        assert!(!pushed("type=docker,push=true"));
    }

    #[test]
    fn quoting_goes_both_ways() {
        for value in ["src=/a b", "src=/a,b", "src=/a\"b", "src=/a,\"b\",c"] {
            let line = line(["id=x", value]);
            assert_eq!(
                fields(&line),
                Some(vec!["id=x".into(), value.into()]),
                "{line}"
            );
        }
    }
}
