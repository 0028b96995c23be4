//! A registry that misbehaves: a proxy in front of a real one, told by each test what to do wrong.
//!
//! ```no_run
//! # use sociable_tests::proxy::{Fault, Proxy, Rule};
//! let proxy = Proxy::start("127.0.0.1:5000");
//! proxy.add(Rule::on("GET", "/blobs/").first(2).does(Fault::CutResponse { after: 1000 }));
//! // … let sociable pull from `proxy.address()` …
//! assert_eq!(proxy.log().iter().filter(|e| e.fault.is_some()).count(), 2);
//! ```
//!
//! - `rule`: which requests, and what becomes of them.
//! - `gate`: who may come in: Basic, or tokens that expire.
//! - `serve`: one connection; bodies stream, so that they may be of any size.
//! - `log`: what came, for assertions.
//!
//! A request that the gate refuses does not count for the rules.

mod gate;
mod log;
mod rule;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

pub use gate::{Gate, Removal, Tokens};
pub use log::{Exchange, Log};
pub use rule::{Answer, Fault, Rule};

/// What all connections of a proxy share.
#[derive(Debug)]
struct Shared {
    /// `HOST:PORT` of this proxy.
    address: String,
    /// `HOST:PORT` of the real registry.
    upstream: String,
    stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    gate: Option<Gate>,
    log: Vec<Exchange>,
    /// Exchanges that were in the log before it was last emptied: what still runs of them must not be taken for later ones.
    forgotten: usize,
    /// Paths of upload sessions that were lost.
    lost: HashSet<String>,
}

impl State {
    /// Notes a request; its number.
    fn begin(&mut self, exchange: Exchange) -> usize {
        self.log.push(exchange);
        self.forgotten + self.log.len() - 1
    }

    /// The exchange with a number, if it was not forgotten.
    fn exchange(&mut self, number: usize) -> Option<&mut Exchange> {
        let index = number.checked_sub(self.forgotten)?;
        self.log.get_mut(index)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A connection's thread that failed has said so; what it left is still a log.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running proxy; it stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy in front of `HOST:PORT`, on a free port of 127.0.0.1, that does nothing wrong yet.
    pub fn start(upstream: &str) -> Self {
        Self::start_at("127.0.0.1:0", upstream)
    }

    /// The same, on an address of this machine.
    pub fn start_at(address: &str, upstream: &str) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("a bound port").to_string();
        let shared = Arc::new(Shared {
            address,
            upstream: upstream.to_owned(),
            stopped: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || serve::connection(&shared, &stream));
            }
        });
        Self { shared }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// `docker://HOST:PORT/NAME`.
    pub fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.address())
    }

    /// Adds a rule. All rules that match a request apply, in the order they were added.
    pub fn add(&self, rule: Rule) {
        self.shared.state().rules.push(rule);
    }

    /// Forgets all rules, lost uploads and the gate: from now on it is an honest proxy.
    pub fn clear(&self) {
        let mut state = self.shared.state();
        state.rules.clear();
        state.lost.clear();
        state.gate = None;
    }

    /// Asks everybody who they are.
    pub fn guard(&self, gate: Gate) {
        self.shared.state().gate = Some(gate);
    }

    /// All requests since the start or the last [`Proxy::forget`], in the order they came.
    pub fn log(&self) -> Log {
        Log(self.shared.state().log.clone())
    }

    /// Empties the log.
    pub fn forget(&self) {
        let mut state = self.shared.state();
        state.forgotten += state.log.len();
        state.log.clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; if it is gone already, there is nobody to wake.
        let _ = TcpStream::connect(self.address());
    }
}
