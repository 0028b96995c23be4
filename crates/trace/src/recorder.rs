//! What is kept of the reads: ranges for each file, files in the order of their first read.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sociable_policy::{Trace, TracedFile};

/// Collects reads while they happen.
#[derive(Debug, Default)]
pub struct Recorder {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<File>,
    /// Where a file is in `files`.
    places: HashMap<u64, usize>,
    stopped: bool,
}

#[derive(Debug)]
struct File {
    path: String,
    size: u64,
    ranges: Vec<(u64, u64)>,
}

impl Recorder {
    /// A recorder that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a read. `file` is one number for all names of a file; the name it was first read by is kept.
    pub fn read(&self, file: u64, name: impl FnOnce() -> (String, u64), offset: u64, length: u64) {
        let mut state = self.lock();
        if length == 0 || state.stopped {
            return;
        }
        let State { files, places, .. } = &mut *state;
        let place = *places.entry(file).or_insert_with(|| {
            let (path, size) = name();
            files.push(File {
                path,
                size,
                ranges: Vec::new(),
            });
            files.len() - 1
        });
        let ranges = &mut files[place].ranges;
        // Most reads go on where the last one ended.
        match ranges.last_mut() {
            Some((start, before)) if *start + *before == offset => *before += length,
            _ => ranges.push((offset, length)),
        }
    }

    /// Notes nothing from now on.
    pub fn stop(&self) {
        self.lock().stopped = true;
    }

    /// What was read until now.
    #[must_use]
    pub fn trace(&self, workload: Option<String>) -> Trace {
        let state = self.lock();
        let files = state.files.iter().map(|file| {
            // A file that shrank while it was read: what is behind its end is not there.
            let ranges = file.ranges.iter().filter_map(|&(offset, length)| {
                Some((offset, length.min(file.size.checked_sub(offset)?)))
            });
            TracedFile::new(file.path.clone(), file.size, ranges.collect())
        });
        Trace {
            workloads: workload.into_iter().collect(),
            files: files.collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_the_order_of_their_first_read() {
        let recorder = Recorder::new();
        let name = |path: &str| (path.to_owned(), 100);
        recorder.read(7, || name("/b"), 0, 10);
        recorder.read(3, || name("/a"), 50, 10);
        recorder.read(7, || name("/another-name-of-b"), 10, 10);
        recorder.read(7, || name("/b"), 90, 10);
        recorder.read(9, || name("/empty"), 0, 0);
        recorder.stop();
        recorder.read(9, || name("/late"), 0, 1);
        let trace = recorder.trace(Some("x".to_owned()));
        assert_eq!(trace.workloads, ["x"]);
        let files: Vec<_> = (trace.files.iter())
            .map(|file| (&file.path[..], &file.ranges[..]))
            .collect();
        assert_eq!(
            files,
            [("/b", &[(0, 20), (90, 10)][..]), ("/a", &[(50, 10)][..]),]
        );
    }

    #[test]
    fn nothing_is_behind_the_end() {
        let recorder = Recorder::new();
        recorder.read(1, || ("/a".to_owned(), 5), 3, 10);
        recorder.read(1, || ("/a".to_owned(), 5), 20, 10);
        let trace = recorder.trace(None);
        assert_eq!(trace.files[0].ranges, [(3, 2)]);
        assert!(Trace::parse(trace.to_json().as_bytes()).is_ok());
    }
}
