//! Who may come in.
//!
//! Tokens are those of the distribution project's token specification: a 401 names the realm, the service and the scope; the
//! realm hands tokens out, to `GET` with Basic credentials and to `POST` as `OAuth2` has it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;

use super::rule::Answer;
use crate::http::{self, Request};

/// The path of the token service.
const REALM: &str = "/token";

/// The right to list repositories.
const CATALOG: &str = "registry:catalog:*";

/// How people say who they are.
#[derive(Debug)]
pub enum Gate {
    /// With every request.
    Basic {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
    },
    /// To the token service of this proxy; everywhere else with a token.
    Tokens(Tokens),
}

/// A token service.
#[derive(Debug)]
pub struct Tokens {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: String,
    /// What stands in for a password with `POST`.
    pub identity: String,
    /// Whether anybody may pull.
    pub anonymous_pull: bool,
    /// How often a token may be used.
    pub uses: usize,
    /// How long a token may be used.
    pub life: Duration,
    /// By which right something may be removed.
    pub removal: Removal,
    handed_out: BTreeMap<String, Token>,
    next: usize,
}

/// By which right something may be removed: the specification leaves that to the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// `delete`, and the service does not know `*`: as distribution has it today.
    Delete,
    /// `*`, and the service does not know `delete`: as distribution had it.
    Everything,
    /// `push`, and the service refuses to read words other than `pull`, `push` and `*`, which is for owners: as Quay.
    Push,
    /// `delete`, and the service refuses to read `*`.
    NothingElse,
}

impl Removal {
    const ALL: [&str; 4] = ["pull", "push", "delete", "*"];

    /// All of them.
    pub const EACH: [Self; 4] = [
        Self::Delete,
        Self::Everything,
        Self::Push,
        Self::NothingElse,
    ];

    fn right(self) -> &'static str {
        match self {
            Self::Delete | Self::NothingElse => "delete",
            Self::Everything => "*",
            Self::Push => "push",
        }
    }

    /// Whether the service answers somebody who asks for that at all.
    fn reads(self, action: &str) -> bool {
        let unread = match self {
            Self::Delete | Self::Everything => "",
            Self::Push => "delete",
            Self::NothingElse => "*",
        };
        Self::ALL.contains(&action) && action != unread
    }

    /// Whether it grants that.
    fn grants(self, action: &str) -> bool {
        matches!(action, "pull" | "push") || action == self.right()
    }
}

#[derive(Debug)]
struct Token {
    /// `REPOSITORY:ACTION`
    rights: BTreeSet<String>,
    uses: usize,
    until: Instant,
}

impl Tokens {
    /// For one user, who has a password and an identity token; tokens that live as long as the test.
    pub fn new(user: &str, password: &str, identity: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            identity: identity.to_owned(),
            anonymous_pull: false,
            uses: usize::MAX,
            life: Duration::from_hours(1),
            removal: Removal::Delete,
            handed_out: BTreeMap::new(),
            next: 0,
        }
    }

    /// Tokens are good for so many requests.
    #[must_use]
    pub fn uses(mut self, uses: usize) -> Self {
        self.uses = uses;
        self
    }

    /// By which right something may be removed.
    #[must_use]
    pub fn removal(mut self, removal: Removal) -> Self {
        self.removal = removal;
        self
    }

    /// Anybody may pull.
    #[must_use]
    pub fn anonymous_pull(mut self) -> Self {
        self.anonymous_pull = true;
        self
    }

    fn hand_out(&mut self, request: &Request, form: &str) -> Answer {
        let posted = request.method == "POST";
        let query = request.target.split_once('?').map_or("", |(_, q)| q);
        let basic = request.headers.get("authorization").map(basic);
        let known = if posted {
            let is =
                |name: &str, value: &str| http::parameter(form, name).as_deref() == Some(value);
            match http::parameter(form, "grant_type").as_deref() {
                Some("refresh_token") => is("refresh_token", &self.identity),
                Some("password") => is("username", &self.user) && is("password", &self.password),
                _ => false,
            }
        } else {
            basic == Some(Some((self.user.clone(), self.password.clone())))
        };
        if !known && (posted || basic.is_some() || !self.anonymous_pull) {
            return Answer::error(401, "UNAUTHORIZED", "the token service does not know you");
        }
        let mut rights = BTreeSet::new();
        let asked = http::parameters(if posted { form } else { query }, "scope");
        for scope in asked.iter().flat_map(|s| s.split(' ')) {
            if scope == CATALOG && known {
                rights.insert(scope.to_owned());
            }
            let Some((repository, actions)) = scope
                .strip_prefix("repository:")
                .and_then(|s| s.rsplit_once(':'))
            else {
                continue;
            };
            if let Some(unread) = actions.split(',').find(|a| !self.removal.reads(a)) {
                let why = format!("unable to decode repository and actions: {unread}");
                return Answer::error(400, "INVALID_REQUEST", &why);
            }
            let granted = actions.split(',').filter(|a| self.removal.grants(a));
            for action in granted.filter(|a| known || *a == "pull") {
                rights.insert(format!("{repository}:{action}"));
            }
        }
        self.next += 1;
        let name = format!("short-lived-secret-{}", self.next);
        let token = Token {
            rights,
            uses: self.uses,
            until: Instant::now() + self.life,
        };
        self.handed_out.insert(name.clone(), token);
        // The specification's smallest life; what is said here is not what is meant, which is what the test is about.
        let seconds = self.life.as_secs().max(60);
        let mut answer = Answer::status(200).with("Content-Type", "application/json");
        let body = json!({"token": name, "access_token": name, "expires_in": seconds});
        answer.body = body.to_string().into_bytes();
        answer
    }

    /// Why a request may not pass; none if it may.
    fn check(&mut self, address: &str, request: &Request) -> Option<Answer> {
        let needed = rights_for(request, self.removal);
        let token = request
            .headers
            .get("authorization")
            .and_then(|a| a.strip_prefix("Bearer "));
        let problem = match token.and_then(|t| self.handed_out.get_mut(t)) {
            None => "invalid_token",
            Some(token) if token.uses == 0 || token.until < Instant::now() => "invalid_token",
            Some(token) if !needed.is_subset(&token.rights) => "insufficient_scope",
            Some(token) => {
                token.uses -= 1;
                return None;
            }
        };
        let mut by_repository: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for right in &needed {
            let (repository, action) = right.rsplit_once(':').expect("REPOSITORY:ACTION");
            by_repository.entry(repository).or_default().push(action);
        }
        let scopes: Vec<_> = if needed.contains(CATALOG) {
            vec![CATALOG.to_owned()]
        } else {
            let each = by_repository.iter();
            each.map(|(repository, actions)| {
                format!("repository:{repository}:{}", actions.join(","))
            })
            .collect()
        };
        let mut challenge =
            format!(r#"Bearer realm="http://{address}{REALM}",service="the proxy""#);
        if !scopes.is_empty() {
            challenge.extend([",scope=\"", &scopes.join(" "), "\""]);
        }
        if token.is_some() {
            challenge.extend([",error=\"", problem, "\""]);
        }
        let refused = Answer::error(401, "UNAUTHORIZED", "authentication required");
        Some(refused.with("WWW-Authenticate", challenge))
    }
}

/// `REPOSITORY:ACTION` for all that a request does.
fn rights_for(request: &Request, removal: Removal) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    let Some(path) = request.path().strip_prefix("/v2/") else {
        return rights;
    };
    if path == "_catalog" {
        rights.insert(CATALOG.to_owned());
    }
    let ends = ["/manifests/", "/blobs/", "/tags/", "/referrers/"];
    let Some(end) = ends.iter().filter_map(|e| path.rfind(e)).max() else {
        return rights;
    };
    let repository = &path[..end];
    let removal = [removal.right()];
    let actions: &[&str] = match request.method.as_str() {
        "GET" | "HEAD" if !path.contains("/blobs/uploads/") => &["pull"],
        "DELETE" if !path.contains("/blobs/uploads/") => &removal,
        _ => &["pull", "push"],
    };
    rights.extend(actions.iter().map(|a| format!("{repository}:{a}")));
    rights.extend(request.query("from").map(|from| format!("{from}:pull")));
    rights
}

fn basic(header: &str) -> Option<(String, String)> {
    let decoded = BASE64_STANDARD
        .decode(header.strip_prefix("Basic ")?)
        .ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

impl Gate {
    /// Whether the request's body is the gate's to read.
    pub(super) fn is_realm(request: &Request) -> bool {
        request.path() == REALM
    }

    /// What the gate answers; none if the request may pass.
    pub(super) fn answer(
        &mut self,
        address: &str,
        request: &Request,
        form: &str,
    ) -> Option<Answer> {
        match self {
            Self::Basic { user, password } => {
                let said = request.headers.get("authorization").and_then(basic);
                if said == Some((user.clone(), password.clone())) {
                    return None;
                }
                let refused = Answer::error(401, "UNAUTHORIZED", "authentication required");
                Some(refused.with("WWW-Authenticate", r#"Basic realm="the proxy""#))
            }
            Self::Tokens(tokens) if Self::is_realm(request) => Some(tokens.hand_out(request, form)),
            Self::Tokens(tokens) => tokens.check(address, request),
        }
    }
}
