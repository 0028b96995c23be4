//! What a command finds around it: a root as containerd makes it, in a mount namespace of its own.
//!
//! The namespace belongs to one thread, which enters it, makes the mounts, starts the command and ends; the rest of the
//! process stays where it is. All mounts are in that namespace only, and gone with its last process, however that ends.
//!
//! ```text
//! overlay  /                    lower: the root over FUSE; upper: memory, so that the command may write
//! binds    /proc /dev /sys      this machine's, as are /etc/resolv.conf, /etc/hosts, /etc/hostname
//! tmpfs    /tmp /run            empty
//! ```
//!
//! The network is this machine's. This is no sandbox: the command may do what whoever runs it may do.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_change, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, pivot_root};

use crate::error::step;
use crate::served::device;
use crate::{Error, Result};

/// Where programs are looked for, unless something else is said: as Docker has it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Directories of this machine that the command sees.
const DIRECTORIES: [&str; 3] = ["/proc", "/dev", "/sys"];
/// Files of this machine that the command sees, as in Docker's containers.
const FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname"];

/// What is run.
#[derive(Debug, Clone, Default)]
pub struct Workload {
    /// Program and arguments; not empty.
    pub command: Vec<OsString>,
    /// Environment, beside `PATH` and `HOME`, which have defaults.
    pub env: Vec<(OsString, OsString)>,
    /// Where it starts; `/` if this is empty.
    pub directory: PathBuf,
    /// User and group, if not those of this process.
    pub user: Option<(u32, u32)>,
}

impl Workload {
    /// For people: the command as a shell would have it, nearly.
    #[must_use]
    pub fn text(&self) -> String {
        let word = |word: &OsString| {
            let word = word.to_string_lossy();
            if word.contains(char::is_whitespace) || word.is_empty() {
                format!("'{word}'")
            } else {
                word.into_owned()
            }
        };
        let words: Vec<_> = self.command.iter().map(word).collect();
        words.join(" ")
    }

    fn to_command(&self) -> Command {
        let mut words = self.command.iter();
        let mut command = Command::new(words.next().cloned().unwrap_or_default());
        command.args(words).env_clear();
        command.env("PATH", PATH).env("HOME", "/root");
        if let Some(terminal) = std::env::var_os("TERM") {
            command.env("TERM", terminal);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        // What is not absolute is meant from the root.
        command.current_dir(Path::new("/").join(&self.directory));
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

/// Leaves this thread's mount namespace for a new one, with the root on `base` (an empty directory) over FUSE.
/// `serve` gets the kernel's end, and must answer it from another thread.
///
/// To be called on a thread that does nothing else afterwards: there is no way back.
pub(crate) fn enter(base: &Path, serve: impl FnOnce(OwnedFd) -> Result<()>) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(step("make a mount namespace"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(step("keep mounts to the namespace"))?;
    let taken = taken()?;
    tmpfs(base, c"mode=755").map_err(step("mount a tmpfs"))?;
    let [lower, upper, work, root] = ["lower", "upper", "work", "root"].map(|name| base.join(name));
    for dir in [&lower, &upper, &work, &root] {
        fs::create_dir(dir).map_err(step("make a directory in a tmpfs"))?;
    }
    let device = device()?;
    let options = format!(
        "fd={},rootmode=40755,user_id=0,group_id=0,allow_other,default_permissions",
        device.as_raw_fd()
    );
    filesystem(c"fuse", &lower, MountFlags::RDONLY, &options).map_err(step("mount FUSE"))?;
    serve(device)?;
    // Names in options end at commas and colons: the working directory keeps them short and ours.
    chdir(base).map_err(step("enter a tmpfs"))?;
    let options = "lowerdir=lower,upperdir=upper,workdir=work";
    let overlay = filesystem(c"overlay", &root, MountFlags::empty(), options)
        // In a user namespace overlayfs keeps its notes in attributes of users.
        .or_else(|_| {
            let options = format!("{options},userxattr");
            filesystem(c"overlay", &root, MountFlags::empty(), &options)
        });
    overlay.map_err(step("mount an overlay over FUSE"))?;
    chdir(&root).map_err(step("enter the overlay"))?;
    pivot_root(".", ".").map_err(step("change the root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(step("leave the old root"))?;
    chdir("/").map_err(step("enter the new root"))?;
    surround(taken)
}

/// Starts the command in the root of this thread.
pub(crate) fn start(workload: &Workload) -> Result<Child> {
    let mut command = workload.to_command();
    command.spawn().map_err(|source| Error::Command {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })
}

/// What the command sees of this machine, taken before the root changes.
fn taken() -> Result<Vec<(&'static str, OwnedFd)>> {
    let mut taken = Vec::new();
    for path in DIRECTORIES.into_iter().chain(FILES) {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE;
        match open_tree(CWD, path, flags) {
            Ok(tree) => taken.push((path, tree)),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(step("share /proc, /dev and /sys")(error)),
        }
    }
    Ok(taken)
}

/// Puts what was taken into the new root, which is `/` by now: links in it lead nowhere else.
fn surround(taken: Vec<(&'static str, OwnedFd)>) -> Result<()> {
    for dir in DIRECTORIES.into_iter().chain(["/tmp", "/run"]) {
        fs::create_dir_all(dir).map_err(step("make /proc, /dev, /sys, /tmp or /run"))?;
    }
    for (path, tree) in taken {
        if FILES.contains(&path) && place(path).is_err() {
            continue;
        }
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
        let moved = move_mount(&tree, "", CWD, path, flags);
        moved.map_err(step("share /proc, /dev and /sys"))?;
    }
    tmpfs(Path::new("/tmp"), c"mode=1777").map_err(step("mount /tmp"))?;
    tmpfs(Path::new("/run"), c"mode=755").map_err(step("mount /run"))
}

/// A file to mount on. What a link leads to counts, and whatever cannot be made is left as the image has it.
fn place(path: &str) -> io::Result<()> {
    if fs::exists(path)? {
        return Ok(());
    }
    fs::create_dir_all("/etc")?;
    fs::remove_file(path).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    fs::File::create(path).map(drop)
}

fn tmpfs(on: &Path, options: &std::ffi::CStr) -> rustix::io::Result<()> {
    mount(c"tmpfs", on, c"tmpfs", MountFlags::NODEV, Some(options))
}

fn filesystem(
    kind: &std::ffi::CStr,
    on: &Path,
    flags: MountFlags,
    options: &str,
) -> rustix::io::Result<()> {
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    mount(
        c"sociable",
        on.as_os_str().as_bytes(),
        kind,
        flags,
        Some(&*options),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_as_text() {
        let command = ["python3", "-c", "import x", ""];
        let workload = Workload {
            command: command.map(OsString::from).to_vec(),
            ..Workload::default()
        };
        assert_eq!(workload.text(), "python3 -c 'import x' ''");
    }
}
