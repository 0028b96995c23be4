//! What a container that starts lazily has fetched, and what it runs from.

use crate::Run;
use crate::stack::Stack;

/// How many bytes of a repository's blobs the registry has sent until now.
pub fn sent(stack: &Stack, repository: &str) -> u64 {
    let answers = stack.answers(repository);
    let blobs = answers
        .iter()
        .filter(|a| a.method == "GET" && a.path.contains("/blobs/"));
    blobs.map(|a| a.bytes).sum()
}

/// How many layers of a container, whose /proc/mounts this is, are FUSE mounts.
pub fn layers_on_fuse(stack: &Stack, container: &Run) -> usize {
    let container = container.text();
    let root = container
        .lines()
        .find(|line| line.starts_with("overlay / "));
    let root = root.unwrap_or_else(|| panic!("no overlay: {container}"));
    let all = stack.run("cat /proc/mounts").ok().text();
    let fuse = all.lines().filter_map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        (fields.len() > 2 && fields[2].starts_with("fuse")).then(|| fields[1].to_owned())
    });
    fuse.filter(|mount| root.contains(mount)).count()
}
