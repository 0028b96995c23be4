//! What an image may be called in containerd.

/// Names to look under, best first: the text as it is, then as Docker and nerdctl complete it
/// (`app` is `docker.io/library/app:latest`).
pub(super) fn candidates(reference: &str) -> Vec<String> {
    let mut names = vec![reference.to_owned()];
    names.extend(complete(reference).filter(|full| full != reference));
    names
}

/// A reference with registry and tag (distribution's `reference.ParseNormalizedNamed` and `TagNameOnly`); `None` for
/// what is no Docker reference, as containerd allows any name.
pub(super) fn complete(reference: &str) -> Option<String> {
    let (named, digest) = match reference.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (reference, None),
    };
    let (first, rest) = named.split_once('/').unwrap_or(("", named));
    let is_host = first.contains(['.', ':'])
        || first == "localhost"
        || first.bytes().any(|b| b.is_ascii_uppercase());
    let (host, path) = if is_host {
        (first, rest)
    } else {
        ("docker.io", named)
    };
    let host = if host == "index.docker.io" {
        "docker.io"
    } else {
        host
    };
    let (repository, tag) = match path.rsplit_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (path, None),
    };
    let component = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    if !repository.split('/').all(component) || tag.is_some_and(|tag| !is_tag(tag)) {
        return None;
    }
    let library = if host == "docker.io" && !repository.contains('/') {
        "library/"
    } else {
        ""
    };
    let mut full = format!("{host}/{library}{repository}");
    match (tag, digest) {
        (Some(tag), _) => full = format!("{full}:{tag}"),
        (None, None) => full.push_str(":latest"),
        (None, Some(_)) => {}
    }
    Some(match digest {
        Some(digest) => format!("{full}@{digest}"),
        None => full,
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completed_as_docker_does() {
        for (text, full) in [
            ("app", "docker.io/library/app:latest"),
            ("app:1", "docker.io/library/app:1"),
            ("team/app", "docker.io/team/app:latest"),
            ("docker.io/app:1", "docker.io/library/app:1"),
            ("index.docker.io/app:1", "docker.io/library/app:1"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/a/b:2", "localhost:5000/a/b:2"),
            ("example.com/app", "example.com/app:latest"),
            ("example.com/app:1@sha256:00", "example.com/app:1@sha256:00"),
            ("example.com/app@sha256:00", "example.com/app@sha256:00"),
        ] {
            assert_eq!(complete(text).as_deref(), Some(full), "{text}");
        }
        for text in ["", "App", "a b", "app:", "a//b", "app:-x", "example.com/"] {
            assert_eq!(complete(text), None, "{text}");
        }
    }

    #[test]
    fn the_name_itself_comes_first() {
        assert_eq!(
            candidates("app:1"),
            ["app:1", "docker.io/library/app:1"].map(str::to_owned)
        );
        assert_eq!(candidates("example.com/app:1").len(), 1);
        assert_eq!(candidates("My Image"), ["My Image".to_owned()]);
    }
}
