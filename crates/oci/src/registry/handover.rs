//! Credentials for somebody else who speaks with registries for us, such as a build far away.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use serde_json::{Value, json};

use super::auth::{Credentials, DOCKER_HUB, look_up};
use super::error::RegistryError;
use super::reference::RepositoryName;
use crate::error::Result;

/// What the user has for these repositories and no others, in the form of docker's `config.json`: helpers have been asked, so that
/// whoever reads it needs none. `None` if there is nothing.
///
/// # Errors
/// When a file of credentials cannot be read, or a helper fails.
pub fn docker_config(
    authfile: Option<&Path>,
    repositories: &[RepositoryName],
) -> Result<Option<String>> {
    let mut hosts: BTreeMap<&str, Vec<(&RepositoryName, Credentials)>> = BTreeMap::new();
    for repository in repositories {
        let found = look_up(authfile, repository).map_err(|failure| RegistryError {
            host: repository.registry.clone(),
            method: "logging in to".to_owned(),
            url: repository.registry.clone(),
            attempts: 1,
            failure,
        })?;
        let of_host = hosts.entry(&repository.registry).or_default();
        of_host.push((repository, found));
    }
    let mut auths = serde_json::Map::new();
    for (host, of_host) in &hosts {
        let same = of_host.iter().all(|(_, found)| *found == of_host[0].1);
        for (repository, found) in of_host {
            let Some(entry) = entry(found) else { continue };
            // One entry for the host is what everybody understands; for a repository there is one where podman keeps such.
            let key = match *host {
                _ if !same => repository.to_string(),
                "docker.io" => DOCKER_HUB.to_owned(),
                host => host.to_owned(),
            };
            auths.insert(key, entry);
        }
    }
    Ok((!auths.is_empty()).then(|| json!({ "auths": auths }).to_string()))
}

fn entry(found: &Credentials) -> Option<Value> {
    match found {
        Credentials::Nothing => None,
        Credentials::Password { user, password } => {
            let both = format!("{user}:{password}");
            let auth = base64::engine::general_purpose::STANDARD.encode(both);
            Some(json!({ "auth": auth }))
        }
        Credentials::Identity(token) => Some(json!({ "identitytoken": token })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<RepositoryName> {
        let parse = |text: &&str| text.parse::<super::super::Reference>().unwrap().name;
        texts.iter().map(parse).collect()
    }

    #[test]
    fn only_what_is_needed_is_handed_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        let enc = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let (host, team, other) = (enc("u:p"), enc("team:q:r"), enc("o:o"));
        let config = json!({"auths": {
            "r.example": {"auth": host}, "r.example/team": {"auth": team}, "other.example": {"auth": other},
            "https://index.docker.io/v1/": {"identitytoken": "t"},
        }});
        std::fs::write(&file, config.to_string()).unwrap();
        let handed_over = |texts: &[&str]| -> Option<Value> {
            let config = docker_config(Some(&file), &names(texts)).unwrap()?;
            Some(serde_json::from_str(&config).unwrap())
        };
        assert_eq!(handed_over(&[]), None);
        assert_eq!(handed_over(&["nothing.example/a"]), None);
        let one = json!({"auths": {"r.example": {"auth": host}}});
        assert_eq!(handed_over(&["r.example/a", "r.example/b:2"]), Some(one));
        let hub = json!({"auths": {"https://index.docker.io/v1/": {"identitytoken": "t"}}});
        assert_eq!(handed_over(&["user/app", "nothing.example/a"]), Some(hub));
        let both =
            json!({"auths": {"r.example/a": {"auth": host}, "r.example/team/b": {"auth": team}}});
        assert_eq!(
            handed_over(&["r.example/a", "r.example/team/b"]),
            Some(both)
        );
        // Whoever gets it finds the same in it.
        let given = dir.path().join("given.json");
        for text in ["r.example/team/b", "user/app", "other.example/x"] {
            let repositories = names(&[text]);
            let config = docker_config(Some(&file), &repositories).unwrap().unwrap();
            std::fs::write(&given, config).unwrap();
            let there = look_up(Some(&given), &repositories[0]).unwrap();
            assert_eq!(
                there,
                look_up(Some(&file), &repositories[0]).unwrap(),
                "{text}"
            );
        }
    }

    #[test]
    fn failures_do_not_pass_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        std::fs::write(&file, "{").unwrap();
        let error = docker_config(Some(&file), &names(&["r.example/a"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("r.example") && error.contains("not valid JSON"),
            "{error}"
        );
    }
}
