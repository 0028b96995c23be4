//! HTTP/1.1 by hand: heads, bodies as they are framed on the wire, and one request at a time.
//!
//! A library would repair what the proxy is there to break.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Largest head that is read, in bytes.
const MAX_HEAD: usize = 1 << 16;

/// Headers in the order they came, names as they were spelled.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Sets a header, in the place of any of that name.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.0.push((name.to_owned(), value.into()));
    }

    /// Removes a header.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    fn parse(raw: &[httparse::Header<'_>]) -> Self {
        let text = |v: &[u8]| String::from_utf8_lossy(v).into_owned();
        Self(
            raw.iter()
                .map(|h| (h.name.to_owned(), text(h.value)))
                .collect(),
        )
    }
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Its headers.
    pub headers: Headers,
}

impl Request {
    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, unescaped.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        parameter(query, name)
    }

    /// How its body is framed.
    pub fn framing(&self) -> Framing {
        Framing::of(&self.headers, Framing::Length(0))
    }

    /// Writes the head.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        write_head(
            to,
            &format!("{} {} HTTP/1.1", self.method, self.target),
            &self.headers,
        )
    }
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Its headers.
    pub headers: Headers,
}

impl Response {
    /// How its body is framed, in answer to a method.
    pub fn framing(&self, method: &str) -> Framing {
        if method == "HEAD" || matches!(self.status, 100..=199 | 204 | 304) {
            return Framing::Length(0);
        }
        Framing::of(&self.headers, Framing::ToTheEnd)
    }

    /// Writes the head.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        // The reason is for people; nobody may depend on it.
        write_head(
            to,
            &format!("HTTP/1.1 {} Status", self.status),
            &self.headers,
        )
    }
}

fn write_head(to: &mut impl Write, first: &str, headers: &Headers) -> io::Result<()> {
    let mut head = format!("{first}\r\n");
    for (name, value) in &headers.0 {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    to.write_all(head.as_bytes())
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    ToTheEnd,
}

impl Framing {
    fn of(headers: &Headers, otherwise: Self) -> Self {
        if headers.get("transfer-encoding").is_some() {
            return Self::Chunked;
        }
        let length = headers.get("content-length").and_then(|v| v.parse().ok());
        length.map_or(otherwise, Self::Length)
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The bytes up to and with the empty line; none if the connection ended before the first.
fn head(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        from.take((MAX_HEAD - before) as u64)
            .read_until(b'\n', &mut head)?;
        if head.is_empty() {
            return Ok(None);
        }
        if !head.ends_with(b"\n") {
            return Err(invalid("a head that does not end"));
        }
        if matches!(&head[before..], b"\r\n" | b"\n") {
            return Ok(Some(head));
        }
    }
}

/// Reads the head of a request; none where the client has no more.
pub fn read_request(from: &mut impl BufRead) -> io::Result<Option<Request>> {
    let Some(head) = head(from)? else {
        return Ok(None);
    };
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(&head).map_err(invalid)?;
    Ok(Some(Request {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        headers: Headers::parse(request.headers),
    }))
}

/// Reads the head of a response, after any that say "go on".
pub fn read_response(from: &mut impl BufRead) -> io::Result<Response> {
    loop {
        let head = head(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        response.parse(&head).map_err(invalid)?;
        let status = response.code.unwrap_or_default();
        if !(100..200).contains(&status) {
            return Ok(Response {
                status,
                headers: Headers::parse(response.headers),
            });
        }
    }
}

/// A body, without its framing.
#[derive(Debug)]
pub struct Body<R> {
    from: R,
    framing: Framing,
    /// Bytes left of the body, or of the chunk.
    left: u64,
    done: bool,
}

impl<R: BufRead> Body<R> {
    /// The body behind a head.
    pub fn new(from: R, framing: Framing) -> Self {
        let left = match framing {
            Framing::Length(len) => len,
            Framing::Chunked => 0,
            Framing::ToTheEnd => u64::MAX,
        };
        Self {
            from,
            framing,
            left,
            done: false,
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.from.by_ref().take(1000).read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default();
        self.left = u64::from_str_radix(size, 16).map_err(invalid)?;
        if self.left == 0 {
            while !self.line()?.is_empty() {}
            self.done = true;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.framing == Framing::Chunked && self.left == 0 && !self.done {
            self.next_chunk()?;
        }
        if self.done || self.left == 0 || buf.is_empty() {
            return Ok(0);
        }
        let n = self.from.by_ref().take(self.left).read(buf)?;
        self.left -= n as u64;
        match (n, self.framing) {
            (0, Framing::ToTheEnd) => self.done = true,
            (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {}
        }
        if self.left == 0 && self.framing == Framing::Chunked {
            self.line()?; // the end of the line behind a chunk
        }
        Ok(n)
    }
}

/// Writes one piece of a body; an empty one ends it.
pub fn write_piece(to: &mut impl Write, framing: Framing, piece: &[u8]) -> io::Result<()> {
    match framing {
        Framing::Chunked => {
            let size = format!("{:x}\r\n", piece.len());
            to.write_all(&[size.as_bytes(), piece, b"\r\n"].concat())
        }
        _ => to.write_all(piece),
    }
}

/// The value of a parameter in `a=b&c=d`, unescaped.
pub fn parameter(form: &str, name: &str) -> Option<String> {
    parameters(form, name).into_iter().next()
}

/// All values of a parameter in `a=b&a=c`, unescaped.
pub fn parameters(form: &str, name: &str) -> Vec<String> {
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(n, _)| *n == name)
        .map(|(_, value)| unescape(value))
        .collect()
}

/// Undoes `%41` and `+`.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = escaped.and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
        out.push(match (byte, *first) {
            (Some(byte), _) => byte,
            (None, b'+') => b' ',
            (None, other) => other,
        });
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status and headers.
    pub head: Response,
    /// Its body.
    pub body: Vec<u8>,
}

/// Sends one request over a connection of its own, and reads the whole answer.
pub fn ask(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: Headers::default(),
    };
    request.headers.set("Host", address);
    request.headers.set("Connection", "close");
    request
        .headers
        .set("Content-Length", body.len().to_string());
    for (name, value) in headers {
        request.headers.set(name, *value);
    }
    request.write(&mut &stream)?;
    (&stream).write_all(body)?;
    let mut reader = BufReader::new(&stream);
    let head = read_response(&mut reader)?;
    let mut body = Vec::new();
    Body::new(reader, head.framing(method)).read_to_end(&mut body)?;
    Ok(Answer { head, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_they_are_framed() {
        let read = |wire: &[u8], framing| {
            let mut out = Vec::new();
            let mut rest = wire;
            let done = Body::new(&mut rest, framing).read_to_end(&mut out);
            done.map(|_| (out, rest.len())).ok()
        };
        let chunked = b"5\r\nhello\r\n3;x=y\r\n wo\r\n0\r\n\r\nnext";
        assert_eq!(
            read(chunked, Framing::Chunked),
            Some((b"hello wo".to_vec(), 4))
        );
        assert_eq!(read(b"5\r\nhel", Framing::Chunked), None, "cut");
        assert_eq!(
            read(b"hello", Framing::Length(4)),
            Some((b"hell".to_vec(), 1))
        );
        assert_eq!(read(b"hello", Framing::Length(6)), None, "cut");
        assert_eq!(
            read(b"hello", Framing::ToTheEnd),
            Some((b"hello".to_vec(), 0))
        );
    }

    #[test]
    fn parameters_are_unescaped() {
        let form = "a=1&scope=repository%3Ax%2Fy%3Apull+more&b=%zz";
        assert_eq!(
            parameter(form, "scope").as_deref(),
            Some("repository:x/y:pull more")
        );
        assert_eq!(parameter(form, "b").as_deref(), Some("%zz"));
        assert_eq!(parameter(form, "c"), None);
    }
}
