//! Paths taken apart, and the way through directories that they describe.

use super::names::Dir;

/// The components of `path.Clean("/" + name)`.
pub(crate) fn clean<'a>(name: &'a [u8], components: &mut Vec<&'a [u8]>) {
    components.clear();
    for component in name.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop();
            }
            _ => components.push(component),
        }
    }
}

/// Where one is on the way along a path, and what is still to go.
#[derive(Debug)]
pub(super) struct Way<'p> {
    pub(super) here: Dir,
    root: Dir,
    /// The directories on the way here, the root first.
    trail: Vec<Dir>,
    /// Components still to go, the next on top.
    pending: Vec<&'p [u8]>,
}

impl<'p> Way<'p> {
    pub(super) fn from(root: Dir) -> Self {
        Self {
            here: root,
            root,
            trail: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// Back to the start, with nothing to go. Keeps its memory.
    pub(super) fn restart(&mut self, root: Dir) {
        self.root = root;
        self.here = root;
        self.trail.clear();
        self.pending.clear();
    }

    /// These components come next.
    pub(super) fn prepend(&mut self, components: &[&'p [u8]]) {
        self.pending.extend(components.iter().rev());
    }

    /// This path, or target of a link, comes next.
    pub(super) fn follow(&mut self, path: &'p [u8]) {
        if path.starts_with(b"/") {
            self.trail.clear();
            self.here = self.root;
        }
        // A slash at the end asks for a directory, as `.` does.
        let last = path.ends_with(b"/").then_some(&b"."[..]);
        self.pending.extend(last);
        let components = path.rsplit(|&byte| byte == b'/');
        self.pending
            .extend(components.filter(|component| !component.is_empty()));
    }

    /// The next component that is a name; `.` and `..` before it are gone on the way.
    pub(super) fn next_name(&mut self) -> Option<&'p [u8]> {
        loop {
            match self.pending.pop()? {
                b"." => {}
                b".." => self.here = self.trail.pop().unwrap_or(self.root),
                name => return Some(name),
            }
        }
    }

    pub(super) fn enter(&mut self, directory: Dir) {
        self.trail.push(self.here);
        self.here = directory;
    }

    /// Whether nothing is left to go.
    pub(super) fn at_end(&self) -> bool {
        self.pending.is_empty()
    }

    /// The directory that leads here; none to the root.
    pub(super) fn parent(&self) -> Option<Dir> {
        self.trail.last().copied()
    }
}
