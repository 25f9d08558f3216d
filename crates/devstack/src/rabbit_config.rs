//! The configuration of a private RabbitMQ node: everything that it reads, writes or listens on is its own.

use crate::Error;
use crate::folder::Folder;

/// The node's name. Its port mapper is its own, so the name cannot meet that of another node.
pub(crate) const NODE: &str = "nuncio@localhost";

/// The ports that a node listens on, all on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) amqp: u16,
    pub(crate) management: Option<u16>,
    /// Erlang distribution, for the command line tools.
    pub(crate) distribution: u16,
    /// The port mapper, `epmd`.
    pub(crate) mapper: u16,
}

/// Writes the configuration files into the folder.
pub(crate) fn write(folder: &Folder, user: &str, password: &str, ports: Ports) -> Result<(), Error> {
    let Ports { amqp, management, .. } = ports;
    let mut conf = format!(
        "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
         default_user = {user}\n\
         default_pass = {password}\n\
         log.console = true\n\
         log.file = false\n\
         disk_free_limit.absolute = 100MB\n"
    );
    let mut plugins = "[].\n";
    if let Some(port) = management {
        conf += &format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n");
        plugins = "[rabbitmq_management].\n";
    }
    folder.write("rabbitmq.conf", &conf)?;
    folder.write("enabled_plugins", plugins)?;
    for name in ["home", "mnesia", "generated", "conf.d"] {
        folder.subfolder(name)?;
    }
    Ok(())
}

/// The environment that points the server's script at those files.
pub(crate) fn environment(folder: &Folder, ports: Ports) -> Vec<(String, String)> {
    let within = |name: &str| folder.path.join(name).to_string_lossy().into_owned();
    let fixed = [
        ("HOME", within("home")),
        ("ERL_EPMD_PORT", ports.mapper.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ("RABBITMQ_NODENAME", NODE.to_owned()),
        ("RABBITMQ_NODE_PORT", ports.amqp.to_string()),
        ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
        ("RABBITMQ_DIST_PORT", ports.distribution.to_string()),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}".to_owned()),
        ("RABBITMQ_BASE", within("")),
        ("RABBITMQ_MNESIA_BASE", within("mnesia")),
        ("RABBITMQ_LOG_BASE", within("")),
        ("RABBITMQ_GENERATED_CONFIG_DIR", within("generated")),
        ("RABBITMQ_SCHEMA_DIR", within("generated")),
        ("RABBITMQ_PID_FILE", within("pid")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", within("enabled_plugins")),
        ("RABBITMQ_CONFIG_FILE", within("rabbitmq.conf")),
        ("RABBITMQ_CONFIG_FILES", within("conf.d")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", within("advanced.config")),
        ("RABBITMQ_CONF_ENV_FILE", within("rabbitmq-env.conf")),
        // The script then becomes the server instead of standing between us and it.
        ("detached", "true".to_owned()),
    ];
    fixed.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
