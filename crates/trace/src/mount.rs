//! A mount for other runtimes: what anybody reads through it is recorded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use rustix::mount::{UnmountFlags, unmount};
use sociable_policy::Trace;

use crate::root::Root;
use crate::served::Served;
use crate::{Error, Recorder, Result};

/// A root that is mounted, until this is dropped or somebody unmounts it.
#[derive(Debug)]
pub struct Mounted {
    recorder: Arc<Recorder>,
    on: PathBuf,
    session: BackgroundSession,
}

impl Mounted {
    /// Mounts a root. Without root's rights fusermount3 does it, and only this user sees the files.
    ///
    /// # Errors
    /// [`Error::Mount`].
    pub fn new(root: Arc<dyn Root>, on: &Path, read_ahead: u32) -> Result<Self> {
        let recorder = Arc::new(Recorder::new());
        let served = Served::new(root, Arc::clone(&recorder), read_ahead);
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("sociable".to_owned()),
            MountOption::RO,
            MountOption::Suid,
            MountOption::Dev,
            MountOption::DefaultPermissions,
        ];
        if rustix::process::geteuid().is_root() {
            config.acl = SessionACL::All;
        } else {
            let theirs = [MountOption::Suid, MountOption::Dev];
            config
                .mount_options
                .retain(|option| !theirs.contains(option));
        }
        let session = Session::new(served, on, &config).and_then(Session::spawn);
        let session = session.map_err(|source| Error::Mount {
            on: PathBuf::from(on),
            source,
        })?;
        Ok(Self {
            recorder,
            on: PathBuf::from(on),
            session,
        })
    }

    /// Whether somebody has unmounted it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.session.guard.is_finished()
    }

    /// Ends the recording and unmounts; whoever still uses the mount sees errors. What was read until now.
    #[must_use]
    pub fn finish(self, workload: Option<String>) -> Trace {
        self.recorder.stop();
        // A mount that is in use would stay, and serve nothing.
        if rustix::process::geteuid().is_root() && !self.is_over() {
            // The session tries again when it is dropped.
            let _ = unmount(&self.on, UnmountFlags::DETACH);
        }
        self.recorder.trace(workload)
    }
}
