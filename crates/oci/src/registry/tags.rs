//! Listing tags, and removing manifests.

use std::sync::Arc;

use reqwest::header::LINK;
use reqwest::{Method, Response};
use url::Url;

use super::client::{Access, Client, Request, same_origin};
use super::reference::RepositoryName;
use super::referrers;
use super::source::body;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits;

/// Most tags of a repository.
const MAX_TAGS: usize = 1_000_000;

/// What became of a manifest that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Gone,
    /// It was not there.
    Absent,
}

/// The next page of a list (RFC 8288), if there is one; only of the same registry.
pub(super) fn next_page(response: &Response) -> Option<Url> {
    let link = response.headers().get(LINK)?.to_str().ok()?;
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let next = parameters
        .split(';')
        .any(|p| matches!(p.trim(), "rel=\"next\"" | "rel=next"));
    let url = response.url().join(target).ok()?;
    (next && same_origin(&url, response.url())).then_some(url)
}

pub(super) fn list(client: &Arc<Client>, repository: &RepositoryName) -> Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Page {
        #[serde(default)]
        tags: Option<Vec<String>>,
    }
    let mut url = client.url(repository, "tags/list")?;
    url.query_pairs_mut().append_pair("n", "1000");
    let mut tags = Vec::new();
    loop {
        let request = Request::new(Method::GET, url.clone(), repository, Access::Pull, &[200]);
        let (next, bytes) = client.block(async {
            let response = client.send(&request).await?;
            let next = next_page(&response);
            let bytes = body(client, response, limits::MAX_DOCUMENT).await;
            Ok::<_, Error>((next, bytes.map_err(|f| request.failed(f))?))
        })?;
        let page: Page = serde_json::from_slice(&bytes).map_err(|error| {
            request.failed(super::Failure::Answer(format!(
                "the list of tags cannot be read: {error}"
            )))
        })?;
        tags.extend(page.tags.unwrap_or_default());
        limits::check("tags of a repository", tags.len() as u64, MAX_TAGS as u64).map_err(
            |source| Error::Limit {
                place: repository.to_string(),
                source,
            },
        )?;
        match next {
            Some(next) if next != url => url = next,
            _ => return Ok(tags),
        }
    }
}

pub(super) fn remove(
    client: &Arc<Client>,
    repository: &RepositoryName,
    manifest: &Digest,
    subject: Option<&Digest>,
) -> Result<Removed> {
    if let Some(subject) = subject {
        // First, so that nobody is led to what is gone.
        referrers::remove(client, repository, subject, manifest)?;
    }
    let url = client.url(repository, &format!("manifests/{manifest}"))?;
    let request = Request::new(
        Method::DELETE,
        url,
        repository,
        Access::Delete,
        &[200, 202, 204, 404],
    );
    let response = client.block(client.send(&request))?;
    Ok(if response.status().as_u16() == 404 {
        Removed::Absent
    } else {
        Removed::Gone
    })
}
