//! Policies together.

use std::fmt;
use std::sync::Arc;

use crate::compression::CompressionPolicy;
use crate::order::OrderPolicy;
use crate::prefetch::PrefetchPolicy;
use crate::selection::SelectionPolicy;
use crate::{Layer, PolicyError, SizeSpans, SpanPlanner, SpanPolicy};

/// What can be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// Where spans begin.
    Span,
    /// How layers are compressed.
    Compression,
    /// In which order entries are packed.
    Order,
    /// Which layers get an index.
    Selection,
    /// What is fetched first.
    Prefetch,
}

impl Interface {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Span,
        Self::Compression,
        Self::Order,
        Self::Selection,
        Self::Prefetch,
    ];

    /// Its name, as in `--policy NAME=…` and in WIT.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Span => "span",
            Self::Compression => "compression",
            Self::Order => "order",
            Self::Selection => "selection",
            Self::Prefetch => "prefetch",
        }
    }

    /// Whether it is decided only where a layer is packed, and not about one that exists.
    #[must_use]
    pub fn is_of_packing(self) -> bool {
        matches!(self, Self::Order | Self::Compression)
    }

    /// The interface of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|interface| interface.name() == name)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which policy it is, for people and for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its name, with a component's version: `file-aligned`, `my-policy 0.1.0`.
    pub name: String,
    /// SHA-256 of the component (`sha256:…`); none for what is built in.
    pub digest: Option<String>,
    /// The parameters, a JSON object.
    pub parameters: serde_json::Value,
}

/// A policy: whatever it decides.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Which it is.
    pub about: About,
    /// Where it fails, the default decides: what comes of it is not its alone, and not to be kept as such.
    pub gives_way: bool,
    /// Where spans begin.
    pub span: Option<Arc<dyn SpanPolicy>>,
    /// How layers are compressed.
    pub compression: Option<Arc<dyn CompressionPolicy>>,
    /// In which order entries are packed.
    pub order: Option<Arc<dyn OrderPolicy>>,
    /// Which layers get an index.
    pub selection: Option<Arc<dyn SelectionPolicy>>,
    /// What is fetched first.
    pub prefetch: Option<Arc<dyn PrefetchPolicy>>,
}

impl Policy {
    /// One that decides nothing yet.
    #[must_use]
    pub fn new(about: About) -> Self {
        Self {
            about,
            gives_way: false,
            span: None,
            compression: None,
            order: None,
            selection: None,
            prefetch: None,
        }
    }

    /// What it decides.
    #[must_use]
    pub fn interfaces(&self) -> Vec<Interface> {
        let decides = |interface: &Interface| match interface {
            Interface::Span => self.span.is_some(),
            Interface::Compression => self.compression.is_some(),
            Interface::Order => self.order.is_some(),
            Interface::Selection => self.selection.is_some(),
            Interface::Prefetch => self.prefetch.is_some(),
        };
        Interface::ALL.into_iter().filter(decides).collect()
    }
}

/// The policies in use, at most one of a kind. Where there is none, the reference's rules hold.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    span: Option<Arc<dyn SpanPolicy>>,
    compression: Option<Arc<dyn CompressionPolicy>>,
    order: Option<Arc<dyn OrderPolicy>>,
    selection: Option<Arc<dyn SelectionPolicy>>,
    prefetch: Option<Arc<dyn PrefetchPolicy>>,
    used: Vec<(Interface, About)>,
    give_way: bool,
}

/// Why a policy cannot be used beside the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// Two policies decide the same.
    #[error(
        "both {first} and {second} decide about {interface}; choose with --policy {interface}=…"
    )]
    Clash {
        /// About what.
        interface: Interface,
        /// The one that was there.
        first: String,
        /// The one that was added.
        second: String,
    },
    /// The policy does not decide what it should.
    #[error("policy {name} decides nothing about {interface}, only about {}", list(.has))]
    Lacks {
        /// The policy.
        name: String,
        /// About what it should decide.
        interface: Interface,
        /// About what it does.
        has: Vec<Interface>,
    },
}

fn list(interfaces: &[Interface]) -> String {
    let names: Vec<_> = interfaces
        .iter()
        .map(|interface| interface.name())
        .collect();
    names.join(", ")
}

impl Policies {
    /// Uses a policy for all that it decides, or for `only` one thing.
    ///
    /// # Errors
    /// [`SetError`].
    pub fn add(&mut self, policy: Policy, only: Option<Interface>) -> Result<(), SetError> {
        let has = policy.interfaces();
        let wanted = match only {
            Some(interface) if has.contains(&interface) => vec![interface],
            Some(interface) => {
                return Err(SetError::Lacks {
                    name: policy.about.name,
                    interface,
                    has,
                });
            }
            None => has,
        };
        for &interface in &wanted {
            if let Some((_, first)) = self.used.iter().find(|(used, _)| *used == interface) {
                return Err(SetError::Clash {
                    interface,
                    first: first.name.clone(),
                    second: policy.about.name,
                });
            }
        }
        self.give_way |= policy.gives_way;
        for interface in wanted {
            match interface {
                Interface::Span => self.span.clone_from(&policy.span),
                Interface::Compression => self.compression.clone_from(&policy.compression),
                Interface::Order => self.order.clone_from(&policy.order),
                Interface::Selection => self.selection.clone_from(&policy.selection),
                Interface::Prefetch => self.prefetch.clone_from(&policy.prefetch),
            }
            self.used.push((interface, policy.about.clone()));
        }
        Ok(())
    }

    /// Whether any of them gives way to the default where it fails.
    #[must_use]
    pub fn give_way(&self) -> bool {
        self.give_way
    }

    /// What is used for what.
    #[must_use]
    pub fn used(&self) -> &[(Interface, About)] {
        &self.used
    }

    /// Without what is decided only where a layer is packed: nobody is asked about it then, and nothing of it recorded.
    #[must_use]
    pub fn of_layers_that_exist(self) -> Self {
        let used = self.used.into_iter();
        Self {
            order: None,
            compression: None,
            used: used
                .filter(|(interface, _)| !interface.is_of_packing())
                .collect(),
            ..self
        }
    }

    /// Names of the policies that decide nothing about a layer that exists, but only about one that is packed.
    #[must_use]
    pub fn of_packing(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (_, about) in &self.used {
            let mut its = self.used.iter().filter(|(_, other)| other == about);
            if its.all(|(interface, _)| interface.is_of_packing())
                && !names.contains(&about.name.as_str())
            {
                names.push(&about.name);
            }
        }
        names
    }

    /// What the policy that decides about `interface` is called; nothing if there is none.
    #[must_use]
    pub fn name_of(&self, interface: Interface) -> String {
        let used = self.used.iter().find(|(used, _)| *used == interface);
        used.map(|(_, about)| about.name.clone())
            .unwrap_or_default()
    }

    /// Whether spans begin where the reference's would.
    #[must_use]
    pub fn has_reference_spans(&self) -> bool {
        self.span.is_none()
    }

    /// A planner for a layer: the reference's rule, unless a policy decides.
    ///
    /// # Errors
    /// The policy's.
    pub fn planner(&self, layer: &Layer) -> Result<Box<dyn SpanPlanner>, PolicyError> {
        match &self.span {
            Some(policy) => policy.planner(layer),
            None => SizeSpans {
                span_size: layer.span_size,
            }
            .planner(layer),
        }
    }

    /// Who compresses.
    #[must_use]
    pub fn compression(&self) -> Option<&dyn CompressionPolicy> {
        self.compression.as_deref()
    }

    /// Who orders.
    #[must_use]
    pub fn order(&self) -> Option<&dyn OrderPolicy> {
        self.order.as_deref()
    }

    /// Who selects.
    #[must_use]
    pub fn selection(&self) -> Option<&dyn SelectionPolicy> {
        self.selection.as_deref()
    }

    /// Who chooses what is fetched first.
    #[must_use]
    pub fn prefetch(&self) -> Option<&dyn PrefetchPolicy> {
        self.prefetch.as_deref()
    }

    /// Everything that a zTOC of a layer that exists depends on: part of a cache key.
    #[must_use]
    pub fn identity(&self, span_size: u64) -> String {
        match &self.span {
            Some(policy) => policy.identity(),
            None => SizeSpans { span_size }.identity(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;

    #[test]
    fn one_of_a_kind() {
        let load = |name| builtin::load(name, &serde_json::json!({})).unwrap();
        let mut policies = Policies::default();
        policies.add(load("file-aligned"), None).unwrap();
        let clash = policies.add(load("adaptive"), None).unwrap_err();
        assert!(
            clash.to_string().contains("both file-aligned and adaptive"),
            "{clash}"
        );
        let lacks = policies
            .add(load("size"), Some(Interface::Order))
            .unwrap_err();
        assert!(lacks.to_string().contains("only about span"), "{lacks}");
        policies.add(load("store-incompressible"), None).unwrap();
        assert_eq!(policies.used().len(), 2);
        assert_eq!(policies.of_packing(), ["store-incompressible"]);
    }
}
