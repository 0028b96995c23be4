//! Laying results over each other, and taking them apart.

use bollard_buildkit_proto::pb;

use super::{Build, EMPTY, Output, named};

/// Results laid over each other, the first lowest. Needs the capability `mergeop`.
#[derive(Debug)]
pub struct Merge {
    inputs: Vec<pb::Input>,
    name: String,
}

impl Merge {
    /// Of these. One result may occur more than once.
    #[must_use]
    pub fn of<'a>(outputs: impl IntoIterator<Item = &'a Output>) -> Self {
        Self {
            inputs: outputs.into_iter().map(Output::input).collect(),
            name: String::new(),
        }
    }

    /// What users see.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl Build for Merge {
    fn build(self) -> (pb::Op, pb::OpMetadata) {
        let numbers = 0..i64::try_from(self.inputs.len()).unwrap_or(i64::MAX);
        let merge = pb::MergeOp {
            inputs: numbers.map(|input| pb::MergeInput { input }).collect(),
        };
        let op = pb::Op {
            inputs: self.inputs,
            op: Some(pb::op::Op::Merge(merge)),
            ..pb::Op::default()
        };
        (op, named(&self.name))
    }
}

/// What `upper` has more, or other, than `lower`. Needs the capability `diffop`.
#[derive(Debug)]
pub struct Diff {
    inputs: Vec<pb::Input>,
    lower: i64,
    upper: i64,
}

impl Diff {
    /// Between these; `None` is the empty file system.
    #[must_use]
    pub fn between(lower: Option<&Output>, upper: Option<&Output>) -> Self {
        let mut inputs = Vec::new();
        // Each is an input of its own, even if they are the same: BuildKit 0.25 panics otherwise.
        let mut number = |output: Option<&Output>| {
            let Some(output) = output else { return EMPTY };
            inputs.push(output.input());
            i64::try_from(inputs.len() - 1).unwrap_or(i64::MAX)
        };
        Self {
            lower: number(lower),
            upper: number(upper),
            inputs,
        }
    }
}

impl Build for Diff {
    fn build(self) -> (pb::Op, pb::OpMetadata) {
        let diff = pb::DiffOp {
            lower: Some(pb::LowerDiffInput { input: self.lower }),
            upper: Some(pb::UpperDiffInput { input: self.upper }),
        };
        let op = pb::Op {
            inputs: self.inputs,
            op: Some(pb::op::Op::Diff(diff)),
            ..pb::Op::default()
        };
        (op, named(""))
    }
}
