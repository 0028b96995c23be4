//! Steps of the build in which the engine runs.

use sociable_buildkit::gateway::Capabilities;
use sociable_buildkit::llb::{Exec, Graph, Network, Output};
use sociable_buildkit::{Error, Gateway, Options};

use crate::options::Asked;
use crate::task::{ANSWER_FILE, BINARY, Task, VARIABLE, place};

/// What a build works with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workshop<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) capabilities: &'a Capabilities,
    /// The build's options.
    pub(crate) options: &'a Options,
    /// Ours.
    pub(crate) asked: &'a Asked,
    /// The image of this program, and the graph that it is in.
    pub(crate) engine: &'a Output,
    pub(crate) graph: &'a Graph,
    /// The policies, if there are any, for steps that make layers.
    pub(crate) policies: Option<&'a Output>,
}

/// A step: what it makes, and what it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Blobs, as a part of an image layout.
    pub(crate) out: Output,
    /// A file.
    pub(crate) answer: Output,
}

/// What a step sees.
#[derive(Debug, Default)]
pub(crate) struct Given<'a> {
    pub(crate) lower: Option<&'a Output>,
    pub(crate) upper: Option<&'a Output>,
    pub(crate) blob: Option<&'a Output>,
    pub(crate) layout: Option<&'a Output>,
    pub(crate) policies: Option<&'a Output>,
    /// The build context with files of policies.
    pub(crate) context: Option<&'a Output>,
    /// Components that were fetched.
    pub(crate) fetched: &'a [Output],
    /// With network, credentials and certificates.
    pub(crate) registry: bool,
    /// Is done in every build.
    pub(crate) always: bool,
}

impl Workshop<'_> {
    /// Adds a step to a graph, which has to hold this workshop's.
    pub(crate) fn add(
        &self,
        graph: &mut Graph,
        name: &str,
        task: &Task,
        given: &Given<'_>,
    ) -> Result<Step, Error> {
        let task = serde_json::to_string(task)
            .map_err(|e| Error::message(format!("a step cannot be described: {e}")))?;
        let mut exec = Exec::new(self.engine, [BINARY])
            .named(format!("[sociable] {name}"))
            .env(VARIABLE, &task);
        for (at, what) in [
            (place::LOWER, given.lower),
            (place::UPPER, given.upper),
            (place::BLOB, given.blob),
            (place::LAYOUT, given.layout),
            (place::POLICIES, given.policies),
        ] {
            exec.read_only_unhashed(at, what);
        }
        if let Some(context) = given.context {
            exec.read_only(place::CONTEXT, context);
        }
        for (number, component) in given.fetched.iter().enumerate() {
            exec.read_only(&place::fetched(number), component);
        }
        let out = exec.output(place::OUT, None);
        let answer = exec.output(place::ANSWER, None);
        exec.temporary("/tmp");
        if given.registry {
            exec.secret(place::CREDENTIALS, "soci-registry");
            exec.secret(place::CERTIFICATES, "soci-ca");
            exec = exec
                .network(self.asked.network)
                .proxies_of(self.options)
                .hosts_of(self.options);
        } else {
            exec = exec.network(Network::None);
        }
        if given.always {
            exec = exec.always();
        }
        let step = graph.add(exec);
        Ok(Step {
            out: step.nth(out),
            answer: step.nth(answer),
        })
    }

    /// Runs a step, unless it is cached, and reads its answer.
    pub(crate) async fn answer(&self, graph: &Graph, step: &Step) -> Result<Vec<u8>, Error> {
        let answer = self.gateway.solve(graph, &step.answer).await?;
        self.gateway.read_file(&answer, ANSWER_FILE).await
    }
}
