//! The only thing a policy can do beside answering.

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the policy's author; shown with `--verbose`.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is wrong, but not so much that the answer would be.
    Warn,
}

/// Says one line to people. Control characters are replaced, long lines are cut, and what exceeds the limit is dropped.
/// In native tests it goes to standard error.
pub fn log(level: Level, line: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::wasm::log(level, line);
    #[cfg(not(target_arch = "wasm32"))]
    #[expect(clippy::print_stderr, reason = "only tests run natively")]
    {
        eprintln!("{level:?}: {line}");
    }
}
