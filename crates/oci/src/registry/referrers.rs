//! What refers to a manifest (distribution-spec 1.1, "Listing Referrers").
//!
//! A registry that knows answers at `referrers/DIGEST`, and says so with the header `OCI-Subject` when a manifest with a
//! subject is written. For one that does not, there is an index under the tag `sha256-HEX` (the "referrers tag schema"),
//! which every writer has to keep up by itself. Registries have no conditional write, so two writers can undo each
//! other's entry: after writing, each waits for longer than such a race lasts, looks again, and repeats if its entry is gone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use super::client::{Access, Client, Request, jitter};
use super::error::{Failure, RegistryError};
use super::reference::RepositoryName;
use super::source::{body, fetch};
use crate::digest::Digest;
use crate::document::{Descriptor, Index};
use crate::error::{Error, Result};
use crate::limits;
use crate::media_type;

/// Other writers' time from reading the list to writing it is far shorter than this.
const SETTLE: Duration = Duration::from_millis(400);
/// How often an entry that is gone again is written anew.
const ROUNDS: usize = 12;

/// The tag under which a registry without the API has the list.
pub(super) fn fallback_tag(subject: &Digest) -> String {
    let text = subject.to_string();
    text.replacen(':', "-", 1).chars().take(128).collect()
}

/// Everything that refers to `subject`, by the API or the fallback tag.
pub(super) fn list(
    client: &Arc<Client>,
    repository: &RepositoryName,
    subject: &Digest,
) -> Result<Vec<Descriptor>> {
    if let Some(found) = by_api(client, repository, subject)? {
        return Ok(found);
    }
    Ok(match by_tag(client, repository, subject)? {
        Tagged::List(index) => index.manifests,
        Tagged::Nothing | Tagged::Other => Vec::new(),
    })
}

/// `None` where the registry has no such API.
fn by_api(
    client: &Arc<Client>,
    repository: &RepositoryName,
    subject: &Digest,
) -> Result<Option<Vec<Descriptor>>> {
    let mut url = client.url(repository, &format!("referrers/{subject}"))?;
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    while seen.insert(url.clone()) {
        let request = Request::new(Method::GET, url.clone(), repository, Access::Pull, &[200])
            .header(ACCEPT, media_type::OCI_INDEX);
        let answer = client.block(async {
            let response = client.send(&request).await?;
            // Some registries answer unknown paths with a page of theirs.
            let is_index = super::source::header(&response, CONTENT_TYPE.as_str())
                .is_some_and(|text| text.starts_with(media_type::OCI_INDEX));
            let next = super::tags::next_page(&response).map_err(|f| request.failed(f))?;
            let bytes = body(client, response, limits::MAX_DOCUMENT).await;
            Ok((is_index, next, bytes.map_err(|f| request.failed(f))?))
        });
        let (is_index, next, bytes) = match answer {
            Ok(answer) => answer,
            // No such API, or no such path.
            Err(RegistryError {
                failure:
                    Failure::Status {
                        code: 400 | 404 | 405 | 406 | 501,
                        ..
                    },
                ..
            }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !is_index {
            return Ok(None);
        }
        let index = parse(repository, subject, &bytes)?;
        all.extend(index.manifests);
        limits::check(
            "referrers of a manifest",
            all.len() as u64,
            limits::MAX_DOCUMENTS as u64,
        )
        .map_err(|source| Error::Limit {
            place: repository.to_string(),
            source,
        })?;
        match next {
            Some(next) => url = next,
            None => return Ok(Some(all)),
        }
    }
    Err(super::tags::circle(repository, &url).into())
}

/// What the fallback tag leads to.
enum Tagged {
    Nothing,
    List(Index),
    /// Somebody uses the tag for something else.
    Other,
}

fn by_tag(client: &Arc<Client>, repository: &RepositoryName, subject: &Digest) -> Result<Tagged> {
    match fetch(client, repository, &fallback_tag(subject)) {
        Ok(found) if media_type::is_index(&found.descriptor.media_type) => {
            parse(repository, subject, &found.bytes).map(Tagged::List)
        }
        Ok(_) => Ok(Tagged::Other),
        Err(error) if error.failure.status() == Some(404) => Ok(Tagged::Nothing),
        Err(error) => Err(error.into()),
    }
}

fn parse(repository: &RepositoryName, subject: &Digest, bytes: &[u8]) -> Result<Index> {
    Index::parse(bytes).map_err(|source| Error::Document {
        document: format!("the list of referrers of {subject}"),
        place: repository.to_string(),
        source,
    })
}

/// Changes the list under the fallback tag so that `holds` of it, whoever else writes.
fn change(
    client: &Arc<Client>,
    repository: &RepositoryName,
    subject: &Digest,
    holds: impl Fn(&Index) -> bool,
    apply: impl Fn(&mut Index),
) -> Result<()> {
    let tag = fallback_tag(subject);
    let url = client.url(repository, &format!("manifests/{tag}"))?;
    for _ in 0..ROUNDS {
        let mut index = match by_tag(client, repository, subject)? {
            Tagged::List(index) => index,
            Tagged::Nothing => Index::new(vec![]),
            Tagged::Other => {
                return Err(Error::Incomplete {
                    place: format!("docker://{repository}:{tag}"),
                    why: "the tag is that of a list of referrers, and leads to something else"
                        .to_owned(),
                });
            }
        };
        // After a round: it held through the time in which another writer could have undone it.
        if holds(&index) {
            return Ok(());
        }
        apply(&mut index);
        media_type::OCI_INDEX.clone_into(&mut index.media_type);
        let request = Request::new(Method::PUT, url.clone(), repository, Access::Push, &[201])
            .header(CONTENT_TYPE, media_type::OCI_INDEX)
            .body(index.to_bytes());
        // Sent once: a list that was read a while ago must not go over what others have written since.
        match client.block(client.send_once(&request)) {
            Err(error) if !error.failure.may_pass() => return Err(error.into()),
            _ => {}
        }
        let wait = SETTLE.mul_f64(1.0 + jitter());
        client
            .block(client.sleep(wait))
            .map_err(|failure| request.failed(failure))?;
    }
    Err(Error::Incomplete {
        place: format!("docker://{repository}:{tag}"),
        why: "other writers keep changing the list of referrers".to_owned(),
    })
}

/// Lists `referrer` under the fallback tag of `subject`.
pub(super) fn add(
    client: &Arc<Client>,
    repository: &RepositoryName,
    subject: &Digest,
    referrer: &Descriptor,
) -> Result<()> {
    change(
        client,
        repository,
        subject,
        |index| index.manifests.iter().any(|d| d.digest == referrer.digest),
        |index| index.manifests.push(referrer.clone()),
    )
}

/// Takes `referrer` out of the list under the fallback tag of `subject`; whether there is such a list.
pub(super) fn remove(
    client: &Arc<Client>,
    repository: &RepositoryName,
    subject: &Digest,
    referrer: &Digest,
) -> Result<bool> {
    if !matches!(by_tag(client, repository, subject)?, Tagged::List(_)) {
        return Ok(false);
    }
    change(
        client,
        repository,
        subject,
        |index| index.manifests.iter().all(|d| d.digest != *referrer),
        |index| index.manifests.retain(|d| d.digest != *referrer),
    )?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag() {
        let digest = Digest::sha256_of(b"");
        assert_eq!(
            fallback_tag(&digest),
            format!("sha256-{}", &digest.to_string()[7..])
        );
    }
}
