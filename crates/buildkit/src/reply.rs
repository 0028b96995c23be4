//! Results: what BuildKit's solver makes of a graph, and what a frontend gives back.

use std::collections::{BTreeMap, HashMap};

use bollard_buildkit_proto::moby::buildkit::v1::frontend as pb;
use bollard_buildkit_proto::pb::Definition;

use crate::Error;

/// A file system that BuildKit has made, or will make when somebody looks. Empty for one without any layer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ref {
    /// What BuildKit calls it.
    pub id: String,
    /// The graph that it is the result of, where BuildKit tells.
    pub definition: Option<Definition>,
}

impl Ref {
    /// Whether it is the empty file system.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.id.is_empty()
    }
}

/// File systems, by platform where there are several, with metadata that exporters read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    /// What was built.
    pub refs: Refs,
    /// `containerimage.config`, `refs.platforms`, annotations, ….
    pub metadata: BTreeMap<String, Vec<u8>>,
    /// Attestations by platform.
    pub attestations: HashMap<String, pb::Attestations>,
}

/// One file system, or one for each platform.
#[derive(Debug, Clone, PartialEq)]
pub enum Refs {
    /// One.
    One(Ref),
    /// By the IDs that `refs.platforms` explains.
    Many(BTreeMap<String, Ref>),
}

impl Default for Refs {
    fn default() -> Self {
        Self::One(Ref::default())
    }
}

impl Refs {
    /// All, with their platform IDs; none where there is only one.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, &Ref)> {
        let (one, many) = match self {
            Self::One(one) => (Some((None, one)), None),
            Self::Many(many) => (None, Some(many)),
        };
        let many = many.into_iter().flatten();
        one.into_iter()
            .chain(many.map(|(id, one)| (Some(id.as_str()), one)))
    }
}

impl Reply {
    /// A result of one file system.
    #[must_use]
    pub fn of(one: Ref) -> Self {
        Self {
            refs: Refs::One(one),
            ..Self::default()
        }
    }

    pub(crate) fn from_message(asked: &'static str, result: pb::Result) -> Result<Self, Error> {
        let deprecated = || Error::Answer {
            asked,
            why: "it has the form that BuildKit used before 0.5".to_owned(),
        };
        let refs = match result.result {
            None => Refs::default(),
            Some(pb::result::Result::Ref(one)) => Refs::One(one.into()),
            Some(pb::result::Result::Refs(many)) => {
                let many = many.refs.into_iter();
                Refs::Many(many.map(|(id, one)| (id, one.into())).collect())
            }
            Some(_) => return Err(deprecated()),
        };
        Ok(Self {
            refs,
            metadata: result.metadata.into_iter().collect(),
            attestations: result.attestations,
        })
    }

    pub(crate) fn into_message(self) -> pb::Result {
        let message = |one: Ref| pb::Ref {
            id: one.id,
            def: one.definition,
        };
        pb::Result {
            metadata: self.metadata.into_iter().collect(),
            attestations: self.attestations,
            result: Some(match self.refs {
                Refs::One(one) => pb::result::Result::Ref(message(one)),
                Refs::Many(many) => {
                    let refs = many.into_iter().map(|(id, one)| (id, message(one)));
                    pb::result::Result::Refs(pb::RefMap {
                        refs: refs.collect(),
                    })
                }
            }),
        }
    }
}

impl From<pb::Ref> for Ref {
    fn from(message: pb::Ref) -> Self {
        Self {
            id: message.id,
            definition: message.def,
        }
    }
}
