//! What Amazon ECR's API answers of a registry: the calls that a pipeline makes by `aws ecr …` and by the credential helper.
//!
//! The registry itself is a real one, and asks for the password that this API gives out. Signatures of requests are not checked.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::http::{self, Body, Headers, Request, Response};
use crate::stack::Stack;

/// The user that ECR's tokens are for.
pub const USER: &str = "AWS";

/// The calls begin with this in the header `X-Amz-Target`.
const SERVICE: &str = "AmazonEC2ContainerRegistry_V20150921.";

/// The running API; it ends with the process.
#[derive(Debug)]
pub struct Ecr {
    /// `http://HOST:PORT`: `AWS_ENDPOINT_URL`.
    pub endpoint: String,
    /// What the registry wants of [`USER`].
    pub password: String,
}

impl Ecr {
    /// Answers for the registry of a stack, whose clients call it `endpoint` (`https://HOST`).
    pub fn start(stack: &'static Stack, password: &str, endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let answers = Arc::new(Answers {
            stack,
            token: BASE64_STANDARD.encode(format!("{USER}:{password}")),
            endpoint: endpoint.to_owned(),
        });
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = Arc::clone(&answers);
                // Whoever goes away in the middle of an answer does not want it.
                thread::spawn(move || answers.serve(&stream).ok());
            }
        });
        Self {
            endpoint: format!("http://{address}"),
            password: password.to_owned(),
        }
    }
}

struct Answers {
    stack: &'static Stack,
    token: String,
    endpoint: String,
}

impl Answers {
    fn serve(&self, mut stream: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        while let Some(request) = http::read_request(&mut reader)? {
            let mut body = String::new();
            Body::new(&mut reader, request.framing()).read_to_string(&mut body)?;
            let (status, answer) = self.answer(&request, &body);
            let answer = answer.to_string();
            let mut headers = Headers::default();
            headers.set("Content-Type", "application/x-amz-json-1.1");
            headers.set("Content-Length", answer.len().to_string());
            Response { status, headers }.write(&mut stream)?;
            stream.write_all(answer.as_bytes())?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request, body: &str) -> (u16, Value) {
        let call = request.headers.get("x-amz-target").unwrap_or_default();
        let asked: Value = serde_json::from_str(body).unwrap_or_default();
        match call.strip_prefix(SERVICE) {
            Some("GetAuthorizationToken") => {
                let data = json!({
                    "authorizationToken": self.token,
                    "expiresAt": 4_102_444_800_u32,
                    "proxyEndpoint": self.endpoint,
                });
                (200, json!({"authorizationData": [data]}))
            }
            Some("ListImages") => match asked["repositoryName"].as_str() {
                Some(repository) => (200, json!({"imageIds": self.images(repository)})),
                None => (400, json!({"__type": "InvalidParameterException"})),
            },
            _ => (400, json!({"__type": "UnknownOperationException"})),
        }
    }

    /// Each manifest under each of its tags, and without a tag where it has none: as ECR lists them.
    fn images(&self, repository: &str) -> Vec<Value> {
        let registry = self.stack.registry();
        let mut tagged: Vec<(String, String)> = Vec::new();
        for tag in crate::registry::tags(&registry, repository) {
            let path = format!("/v2/{repository}/manifests/{tag}");
            let accept = [("Accept", crate::registry::ACCEPT)];
            let found = http::ask(&registry, "HEAD", &path, &accept, b"").expect("a manifest");
            let digest = found.head.headers.get("docker-content-digest");
            tagged.push((digest.expect("its digest").to_owned(), tag));
        }
        let mut images = Vec::new();
        for digest in self.stack.manifests(repository) {
            let mut tags = tagged.iter().filter(|(of, _)| *of == digest).peekable();
            if tags.peek().is_none() {
                images.push(json!({"imageDigest": digest}));
            }
            images.extend(tags.map(|(_, tag)| json!({"imageDigest": digest, "imageTag": tag})));
        }
        images
    }
}
