//! One connection.

use std::io::{self, BufReader, Cursor, Read, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::rule::{Answer, Fault};
use super::{Exchange, Gate, Shared};
use crate::http::{self, Body, Framing, Request, Response};
use crate::registry::ACCEPT;

/// Bytes moved at once.
const PIECE: usize = 1 << 16;

/// Why a connection goes on or ends.
enum End {
    /// The client may ask again.
    Again,
    /// Closed in order.
    Close,
    /// Reset.
    Reset,
}

/// Serves one client until it leaves, or a fault ends it.
pub(super) fn connection(shared: &Shared, stream: &TcpStream) {
    // Heads and bodies are written apart; neither waits for the other's acknowledgement.
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::with_capacity(PIECE, stream);
    while let Ok(Some(request)) = http::read_request(&mut reader) {
        let number = shared.state().begin(Exchange {
            request: request.clone(),
            at: Instant::now(),
            response: None,
            up: 0,
            down: 0,
            fault: None,
        });
        let turn = Turn {
            shared,
            stream,
            number,
            head_only: request.method == "HEAD",
        };
        match turn.take(&mut reader, request) {
            Ok(End::Again) => {}
            Ok(End::Reset) => {
                // Without a linger time, closing sends RST instead of FIN. It is the client's loss if that cannot be had.
                let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
                break;
            }
            // A client or registry that went away in the middle is the test's doing.
            Ok(End::Close) | Err(_) => break,
        }
    }
}

/// What is to be done to one response's body.
#[derive(Default)]
struct Plan {
    cut: Option<u64>,
    stall: Option<u64>,
    drip: Option<(usize, Duration)>,
    flip: Option<u64>,
    truncate: u64,
    extend: u64,
    claim_more: u64,
    without: Vec<&'static str>,
    instead: Option<Vec<u8>>,
    /// The request's body, where it has been read already.
    body: Option<Vec<u8>>,
    lose: bool,
    cut_request: Option<u64>,
    stall_request: Option<u64>,
    drip_request: Option<(usize, Duration)>,
}

struct Turn<'a> {
    shared: &'a Shared,
    stream: &'a TcpStream,
    /// Of the exchange in the log.
    number: usize,
    head_only: bool,
}

impl Turn<'_> {
    fn note(&self, what: impl FnOnce(&mut Exchange)) {
        // The test may have emptied the log meanwhile.
        if let Some(exchange) = self.shared.state().exchange(self.number) {
            what(exchange);
        }
    }

    fn take(&self, reader: &mut BufReader<&TcpStream>, mut request: Request) -> io::Result<End> {
        let expects = request.headers.get("expect").is_some();
        request.headers.remove("expect");
        if expects {
            let mut stream = self.stream;
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = Body::new(reader, request.framing());
        let mut form = String::new();
        if Gate::is_realm(&request) {
            body.read_to_string(&mut form)?;
        }
        let faults = {
            let mut state = self.shared.state();
            let address = &self.shared.address;
            let gate = state.gate.as_mut();
            let refused = gate.and_then(|g| g.answer(address, &request, &form));
            if let Some(answer) = refused {
                drop(state);
                return self.answer(&mut body, &answer);
            }
            let lost = state
                .lost
                .contains(request.path())
                .then_some(Fault::LoseUpload);
            let rules = state.rules.iter_mut().filter_map(|r| r.apply(&request));
            lost.into_iter().chain(rules).collect::<Vec<_>>()
        };
        if !faults.is_empty() {
            let names: Vec<_> = faults.iter().map(|f| format!("{f:?}")).collect();
            self.note(|e| e.fault = Some(names.join(", ").chars().take(200).collect()));
        }
        let mut plan = Plan::default();
        for fault in faults {
            if let Some(end) = self.prepare(fault, &mut request, &mut body, &mut plan)? {
                return Ok(end);
            }
        }
        match plan.body.take() {
            Some(bytes) => self.pass_on(&request, &mut Cursor::new(bytes), &plan),
            None => self.pass_on(&request, &mut body, &plan),
        }
    }

    /// Does what is done before the registry is asked; returns how the connection ends if it is not asked at all.
    fn prepare(
        &self,
        fault: Fault,
        request: &mut Request,
        body: &mut Body<&mut BufReader<&TcpStream>>,
        plan: &mut Plan,
    ) -> io::Result<Option<End>> {
        let address = &self.shared.address;
        let answer = match fault {
            Fault::Answer(answer) => answer,
            Fault::LoseUpload => {
                let path = request.path().to_owned();
                self.shared.state().lost.insert(path);
                Answer::error(
                    404,
                    "BLOB_UPLOAD_UNKNOWN",
                    "blob upload unknown to registry",
                )
            }
            Fault::RedirectTo(host) => {
                Answer::status(307).with("Location", format!("http://{host}{}", request.target))
            }
            Fault::RedirectLoop => {
                Answer::status(307).with("Location", format!("http://{address}{}", request.target))
            }
            Fault::NoPatch if request.method == "PATCH" => {
                Answer::error(405, "UNSUPPORTED", "the operation is unsupported")
            }
            Fault::ImmutableTags if request.method == "PUT" => {
                let mut bytes = Vec::new();
                body.read_to_end(&mut bytes)?;
                self.note(|e| e.up = bytes.len() as u64);
                let refusal = self.immutable(request, &bytes)?;
                request.headers.remove("transfer-encoding");
                request
                    .headers
                    .set("Content-Length", bytes.len().to_string());
                plan.body = Some(bytes);
                let Some(refusal) = refusal else {
                    return Ok(None);
                };
                refusal
            }
            Fault::BodyLimit(limit) => {
                // Length(0) is a body that does not come; one in chunks is not known to be too long before it is.
                let Framing::Length(len) = request.framing() else {
                    plan.cut_request = Some(limit);
                    return Ok(None);
                };
                if len <= limit {
                    return Ok(None);
                }
                let answer = Answer::error(413, "SIZE_INVALID", "the body is too large")
                    .with("Connection", "close");
                // The answer comes before the body has, as it does from a front end that looks at lengths.
                self.send_answer(&answer)?;
                self.drain(body)?;
                return Ok(Some(End::Close));
            }
            other => {
                Self::plan(other, request, plan);
                return Ok(None);
            }
        };
        self.answer(body, &answer).map(Some)
    }

    /// Notes what is to be done to the request's head or the response.
    fn plan(fault: Fault, request: &mut Request, plan: &mut Plan) {
        match fault {
            Fault::CutResponse { after } => plan.cut = Some(after),
            Fault::CutRequest { after } => plan.cut_request = Some(after),
            Fault::StallRequest { after } => plan.stall_request = Some(after),
            Fault::DripRequest { piece, pause } => plan.drip_request = Some((piece, pause)),
            Fault::LoseAnswer => plan.lose = true,
            Fault::Stall { after } => plan.stall = Some(after),
            Fault::Drip { piece, pause } => plan.drip = Some((piece, pause)),
            Fault::Flip { at } => plan.flip = Some(at),
            Fault::Truncate { by } => plan.truncate = by,
            Fault::Extend { by } => plan.extend = by,
            Fault::ClaimMore { by } => plan.claim_more = by,
            Fault::Without(name) => plan.without.push(name),
            Fault::Instead(bytes) => plan.instead = Some(bytes),
            Fault::NoRange => {
                request.headers.remove("range");
                plan.without.push("accept-ranges");
            }
            Fault::WrongRange => {
                let range = request.headers.get("range").unwrap_or_default();
                let bytes = range.strip_prefix("bytes=").and_then(|r| r.split_once('-'));
                if let Some((Ok(start), end)) = bytes.map(|(s, e)| (s.parse::<u64>(), e)) {
                    let other = if start > 1 { start / 2 } else { start + 1 };
                    let range = format!("bytes={other}-{end}");
                    request.headers.set("Range", range);
                }
            }
            Fault::RefuseMount => {
                request.target = request.path().to_owned();
            }
            // Done before, or not for this method.
            Fault::Answer(_)
            | Fault::LoseUpload
            | Fault::RedirectTo(_)
            | Fault::RedirectLoop
            | Fault::BodyLimit(_)
            | Fault::NoPatch
            | Fault::ImmutableTags => {}
        }
    }

    /// What ECR says to a tag that is there already, and leads to something else.
    fn immutable(&self, request: &Request, bytes: &[u8]) -> io::Result<Option<Answer>> {
        let path = request.path();
        let Some((repository, tag)) = path.trim_start_matches("/v2/").split_once("/manifests/")
        else {
            return Ok(None);
        };
        if tag.contains(':') {
            return Ok(None);
        }
        let there = http::ask(
            &self.shared.upstream,
            "GET",
            path,
            &[("Accept", ACCEPT)],
            b"",
        )?;
        let moves = there.head.status == 200 && there.body != bytes;
        let message = format!(
            "The image tag '{tag}' already exists in the '{repository}' repository and cannot be overwritten because the \
             repository is immutable."
        );
        Ok(moves.then(|| Answer::error(400, "TAG_INVALID", &message)))
    }

    fn drain(&self, body: &mut impl Read) -> io::Result<()> {
        let up = io::copy(body, &mut io::sink())?;
        self.note(|e| e.up += up);
        Ok(())
    }

    /// Answers in the registry's place, after the request's body.
    fn answer(&self, body: &mut impl Read, answer: &Answer) -> io::Result<End> {
        self.drain(body)?;
        self.send_answer(answer)?;
        Ok(End::Again)
    }

    fn send_answer(&self, answer: &Answer) -> io::Result<()> {
        let mut head = Response {
            status: answer.status,
            headers: http::Headers(answer.headers.clone()),
        };
        head.headers
            .set("Content-Length", answer.body.len().to_string());
        let mut stream = self.stream;
        let mut bytes = Vec::new();
        head.write(&mut bytes)?;
        if !self.head_only {
            bytes.extend_from_slice(&answer.body);
        }
        self.note(|e| {
            e.response = Some(head);
            e.down = answer.body.len() as u64;
        });
        stream.write_all(&bytes)
    }

    /// Asks the registry, and sends what it says as the plan has it.
    fn pass_on(&self, request: &Request, body: &mut impl Read, plan: &Plan) -> io::Result<End> {
        let upstream = TcpStream::connect(&self.shared.upstream)?;
        upstream.set_nodelay(true)?;
        let mut to = &upstream;
        let mut forwarded = request.clone();
        forwarded.headers.set("Connection", "close");
        forwarded.write(&mut to)?;
        let framing = request.framing();
        let (step, pause) = plan.drip_request.unwrap_or((PIECE, Duration::ZERO));
        if plan.stall_request.is_some() || plan.drip_request.is_some() {
            // The kernel must not take what we do not.
            rustix::net::sockopt::set_socket_recv_buffer_size(self.stream, PIECE)?;
        }
        let mut piece = vec![0; step];
        let (mut sent, mut listening) = (0, true);
        loop {
            let stops = [plan.cut_request, plan.stall_request];
            let stops = stops.into_iter().flatten();
            let most = stops.map(|stop| stop - sent).min().unwrap_or(u64::MAX);
            let most = usize::try_from(most).unwrap_or(step).min(step);
            if most == 0 && plan.stall_request == Some(sent) {
                while !self.shared.stopped.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(50));
                }
                return Ok(End::Close);
            }
            if most == 0 {
                return Ok(End::Reset);
            }
            let n = body.read(&mut piece[..most])?;
            thread::sleep(pause);
            sent += n as u64;
            self.note(|e| e.up = sent);
            // A registry may answer before it has read everything, and stop reading.
            if listening && (n > 0 || framing == Framing::Chunked) {
                listening = http::write_piece(&mut to, framing, &piece[..n]).is_ok();
            }
            if n == 0 {
                break;
            }
        }
        let mut from = BufReader::with_capacity(PIECE, &upstream);
        let head = http::read_response(&mut from)?;
        let framing = head.framing(&request.method);
        if plan.lose {
            io::copy(&mut Body::new(from, framing), &mut io::sink())?;
            return Ok(End::Reset);
        }
        self.respond(request, head, &mut Body::new(from, framing), plan)
    }

    fn respond(
        &self,
        request: &Request,
        mut head: Response,
        body: &mut impl Read,
        plan: &Plan,
    ) -> io::Result<End> {
        head.headers.remove("connection");
        for name in &plan.without {
            head.headers.remove(name);
        }
        let mut framing = head.framing(&request.method);
        let mut instead = Cursor::new(plan.instead.as_deref().unwrap_or_default());
        let with_body = request.method != "HEAD";
        let body: &mut dyn Read = if plan.instead.is_some() && with_body {
            framing = Framing::Length(instead.get_ref().len() as u64);
            if head.headers.get("docker-content-digest").is_some() {
                let digest = crate::sha256(instead.get_ref());
                head.headers.set("Docker-Content-Digest", digest);
            }
            head.headers.remove("etag");
            &mut instead
        } else {
            body
        };
        let mut truncated = u64::MAX;
        if let (Framing::Length(len), true) = (framing, with_body) {
            truncated = len.saturating_sub(plan.truncate);
            let claimed = truncated + plan.extend + plan.claim_more;
            if head.status != 204 && head.status != 304 {
                head.headers.set("Content-Length", claimed.to_string());
            }
        }
        if framing == Framing::ToTheEnd {
            head.headers.set("Connection", "close");
        }
        self.note(|e| e.response = Some(head.clone()));
        let mut stream = self.stream;
        head.write(&mut stream)?;
        let zeros = io::repeat(0).take(if with_body { plan.extend } else { 0 });
        let mut body = body.take(truncated).chain(zeros);
        if let Some(end) = self.send_body(&mut body, framing, plan)? {
            return Ok(end);
        }
        let unfinished = plan.claim_more > 0 || framing == Framing::ToTheEnd;
        Ok(if unfinished { End::Close } else { End::Again })
    }

    fn send_body(
        &self,
        body: &mut impl Read,
        framing: Framing,
        plan: &Plan,
    ) -> io::Result<Option<End>> {
        let mut stream = self.stream;
        let (step, pause) = plan.drip.unwrap_or((PIECE, Duration::ZERO));
        let mut piece = vec![0; step.min(PIECE)];
        let mut sent = 0;
        loop {
            if plan.cut == Some(sent) {
                return Ok(Some(End::Reset));
            }
            if plan.stall == Some(sent) {
                self.wait_for_the_client_to_leave();
                return Ok(Some(End::Close));
            }
            let stops = [plan.cut, plan.stall].into_iter().flatten();
            let most = stops.map(|stop| stop - sent).min().unwrap_or(u64::MAX);
            let most = usize::try_from(most).unwrap_or(usize::MAX).min(piece.len());
            let n = body.read(&mut piece[..most])?;
            if let Some(at) = plan.flip.and_then(|f| f.checked_sub(sent))
                && let Some(byte) = usize::try_from(at)
                    .ok()
                    .and_then(|at| piece[..n].get_mut(at))
            {
                *byte ^= 1;
            }
            sent += n as u64;
            // Noted first: a client that has the last byte may look at once.
            self.note(|e| e.down = sent);
            if n > 0 || framing == Framing::Chunked {
                http::write_piece(&mut stream, framing, &piece[..n])?;
            }
            if n == 0 {
                return Ok(None);
            }
            thread::sleep(pause);
        }
    }

    fn wait_for_the_client_to_leave(&self) {
        let _ = self
            .stream
            .set_read_timeout(Some(Duration::from_millis(50)));
        let mut byte = [0];
        while !self.shared.stopped.load(Ordering::SeqCst) {
            match self.stream.peek(&mut byte) {
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                _ => break,
            }
        }
    }
}
