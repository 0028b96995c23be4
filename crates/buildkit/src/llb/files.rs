//! Writing and copying files without a program.

use bollard_buildkit_proto::pb;
use bollard_buildkit_proto::pb::file_action::Action;

use super::{Build, EMPTY, Inputs, Output, named};

/// Files to be written, one after the other, on top of a result or of nothing.
#[derive(Debug)]
pub struct Files {
    inputs: Inputs,
    base: i64,
    actions: Vec<(i64, Action)>,
    name: String,
}

/// Owned by root, whoever runs BuildKit.
fn root() -> pb::ChownOpt {
    let id = || {
        Some(pb::UserOpt {
            user: Some(pb::user_opt::User::ById(0)),
        })
    };
    pb::ChownOpt {
        user: id(),
        group: id(),
    }
}

impl Files {
    /// On top of this.
    #[must_use]
    pub fn on(base: Option<&Output>) -> Self {
        let mut inputs = Inputs::default();
        Self {
            base: inputs.number(base),
            inputs,
            actions: Vec::new(),
            name: String::new(),
        }
    }

    /// What users see.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    fn act(mut self, secondary: i64, action: Action) -> Self {
        self.actions.push((secondary, action));
        self
    }

    /// Makes a directory, and those above it.
    #[must_use]
    pub fn directory(self, path: &str, mode: u16) -> Self {
        let action = Action::Mkdir(pb::FileActionMkDir {
            path: path.to_owned(),
            mode: i32::from(mode),
            make_parents: true,
            owner: Some(root()),
            timestamp: 0,
        });
        self.act(EMPTY, action)
    }

    /// Writes a file; its directory has to be there.
    #[must_use]
    pub fn write(self, path: &str, mode: u16, data: impl Into<Vec<u8>>) -> Self {
        let action = Action::Mkfile(pb::FileActionMkFile {
            path: path.to_owned(),
            mode: i32::from(mode),
            data: data.into(),
            owner: Some(root()),
            timestamp: 0,
        });
        self.act(EMPTY, action)
    }

    /// Copies a file, or what is in a directory, of another result.
    #[must_use]
    pub fn copy(mut self, from: &Output, path: &str, to: &str) -> Self {
        let secondary = self.inputs.number(Some(from));
        let action = Action::Copy(pb::FileActionCopy {
            src: path.to_owned(),
            dest: to.to_owned(),
            dir_copy_contents: true,
            create_dest_path: true,
            // Its own time.
            timestamp: -1,
            mode: -1,
            ..pb::FileActionCopy::default()
        });
        self.act(secondary, action)
    }
}

impl Build for Files {
    fn build(self) -> (pb::Op, pb::OpMetadata) {
        let inputs = self.inputs.into_vec();
        let count = i64::try_from(inputs.len()).unwrap_or(i64::MAX);
        let last = self.actions.len().saturating_sub(1);
        let mut actions = Vec::new();
        let mut input = self.base;
        for (number, (secondary, action)) in self.actions.into_iter().enumerate() {
            actions.push(pb::FileAction {
                input,
                secondary_input: secondary,
                output: if number == last { 0 } else { EMPTY },
                action: Some(action),
            });
            // Behind the inputs proper, actions are numbered.
            input = count + i64::try_from(number).unwrap_or(i64::MAX);
        }
        let op = pb::Op {
            inputs,
            op: Some(pb::op::Op::File(pb::FileOp { actions })),
            ..pb::Op::default()
        };
        (op, named(&self.name))
    }
}
