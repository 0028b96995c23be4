//! The commands of a page, as a reader types them.

/// The lines behind `$ ` in blocks marked `console`, with what they go on to.
///
/// # Panics
/// Never: a line that goes on has a line before it.
#[must_use]
pub fn commands(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let (mut inside, mut goes_on) = (false, false);
    for line in text.lines() {
        match (line, inside) {
            ("```console", false) => inside = true,
            ("```", true) => inside = false,
            (line, true) => {
                if goes_on {
                    let last = found.last_mut().expect("a line that goes on");
                    last.push('\n');
                    last.push_str(line);
                } else if let Some(command) = line.strip_prefix("$ ") {
                    found.push(command.to_owned());
                } else {
                    continue;
                }
                goes_on = line.ends_with('\\');
            }
            _ => {}
        }
    }
    found
}
