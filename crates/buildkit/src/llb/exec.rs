//! Running a program.

use bollard_buildkit_proto::pb;

use super::{Build, EMPTY, Inputs, Output, named};
use crate::Options;

/// What network a program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// Whatever BuildKit gives its containers.
    #[default]
    Default,
    /// The host's, which the user has to allow.
    Host,
    /// None at all.
    None,
}

impl Network {
    /// What the option `force-network-mode` (`docker buildx build --network`) asks for.
    #[must_use]
    pub fn from_option(option: Option<&str>) -> Self {
        match option {
            Some("host") => Self::Host,
            Some("none") => Self::None,
            _ => Self::Default,
        }
    }

    fn mode(self) -> pb::NetMode {
        match self {
            Self::Default => pb::NetMode::Unset,
            Self::Host => pb::NetMode::Host,
            Self::None => pb::NetMode::None,
        }
    }
}

/// A program to be run in a container. Its root file system is its first output, number 0.
#[derive(Debug)]
pub struct Exec {
    inputs: Inputs,
    mounts: Vec<pb::Mount>,
    outputs: i64,
    args: Vec<String>,
    env: Vec<String>,
    proxy: Option<pb::ProxyEnv>,
    hosts: Vec<pb::HostIp>,
    network: Network,
    name: String,
    ignore_cache: bool,
}

impl Exec {
    /// A program of the file system `root`, with its arguments.
    #[must_use]
    pub fn new<A: Into<String>>(root: &Output, args: impl IntoIterator<Item = A>) -> Self {
        let mut this = Self {
            inputs: Inputs::default(),
            mounts: Vec::new(),
            outputs: 0,
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            proxy: None,
            hosts: Vec::new(),
            network: Network::Default,
            name: String::new(),
            ignore_cache: false,
        };
        // Writable, since places to mount at have to be made in it.
        this.output("/", Some(root));
        this
    }

    /// The network.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    /// The proxies that the user named with `--build-arg HTTP_PROXY=…` and its relatives; they are no part of the cache key.
    #[must_use]
    pub fn proxies_of(mut self, options: &Options) -> Self {
        let named = |name: &str| {
            let value = options.build_arg(name);
            let value = value.or_else(|| options.build_arg(&name.to_lowercase()));
            value.unwrap_or_default().to_owned()
        };
        let proxy = pb::ProxyEnv {
            http_proxy: named("HTTP_PROXY"),
            https_proxy: named("HTTPS_PROXY"),
            ftp_proxy: named("FTP_PROXY"),
            no_proxy: named("NO_PROXY"),
            all_proxy: named("ALL_PROXY"),
        };
        self.proxy = (proxy != pb::ProxyEnv::default()).then_some(proxy);
        self
    }

    /// The hosts that the user named with `--add-host`.
    #[must_use]
    pub fn hosts_of(mut self, options: &Options) -> Self {
        let named = options.get("add-hosts").unwrap_or_default().split(',');
        let hosts = named.filter_map(|host| host.split_once('='));
        self.hosts = hosts
            .map(|(host, ip)| pb::HostIp {
                host: host.to_owned(),
                ip: ip.to_owned(),
            })
            .collect();
        self
    }

    /// What users see.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Runs it in every build anew.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.ignore_cache = true;
        self
    }

    /// Mounts a result for reading. The cache knows it by its content.
    pub fn read_only(&mut self, at: &str, what: &Output) {
        self.mounts.push(pb::Mount {
            input: self.inputs.number(Some(what)),
            dest: at.to_owned(),
            output: EMPTY,
            readonly: true,
            ..pb::Mount::default()
        });
    }

    /// Mounts a result for reading; nothing, where there is none. BuildKit does not hash its content, which would take as long as
    /// reading it: the cache knows it by the operations that made it alone.
    pub fn read_only_unhashed(&mut self, at: &str, what: Option<&Output>) {
        let mount = pb::Mount {
            input: self.inputs.number(what),
            dest: at.to_owned(),
            output: EMPTY,
            readonly: true,
            content_cache: pb::MountContentCache::Off.into(),
            ..pb::Mount::default()
        };
        if what.is_some() {
            self.mounts.push(mount);
        }
    }

    /// Mounts a place to write to, empty or on top of a result; gives the number of the output that it is.
    pub fn output(&mut self, at: &str, on: Option<&Output>) -> i64 {
        let output = self.outputs;
        self.outputs += 1;
        self.mounts.push(pb::Mount {
            input: self.inputs.number(on),
            dest: at.to_owned(),
            output,
            ..pb::Mount::default()
        });
        output
    }

    /// Mounts memory for temporary files.
    pub fn temporary(&mut self, at: &str) {
        self.mounts.push(pb::Mount {
            input: EMPTY,
            dest: at.to_owned(),
            output: EMPTY,
            mount_type: pb::MountType::Tmpfs.into(),
            tmpfs_opt: Some(pb::TmpfsOpt::default()),
            ..pb::Mount::default()
        });
    }

    /// Mounts a secret of the user's as a file, if there is one. It becomes part of no result and no cache key.
    pub fn secret(&mut self, at: &str, id: &str) {
        self.mounts.push(pb::Mount {
            input: EMPTY,
            dest: at.to_owned(),
            output: EMPTY,
            mount_type: pb::MountType::Secret.into(),
            secret_opt: Some(pb::SecretOpt {
                id: id.to_owned(),
                mode: 0o400,
                optional: true,
                ..pb::SecretOpt::default()
            }),
            ..pb::Mount::default()
        });
    }
}

impl Build for Exec {
    fn build(self) -> (pb::Op, pb::OpMetadata) {
        let exec = pb::ExecOp {
            meta: Some(pb::Meta {
                args: self.args,
                env: self.env,
                proxy_env: self.proxy,
                extra_hosts: self.hosts,
                cwd: "/".to_owned(),
                ..pb::Meta::default()
            }),
            mounts: self.mounts,
            network: self.network.mode().into(),
            ..pb::ExecOp::default()
        };
        let op = pb::Op {
            inputs: self.inputs.into_vec(),
            op: Some(pb::op::Op::Exec(exec)),
            ..pb::Op::default()
        };
        let metadata = pb::OpMetadata {
            ignore_cache: self.ignore_cache,
            ..named(&self.name)
        };
        (op, metadata)
    }
}
