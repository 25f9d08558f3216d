//! Servers of other makers, where they are installed; their programs and settings are in `bench/peers`.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{Contender, Server, free_address, graphql, spawn};
use crate::Result;
use crate::fanout::driver::{Dialect, Outlet};

/// Socket.IO, or graphql-ws with ws.
pub(super) async fn node(contender: Contender) -> Result<Server> {
    let folder = work_folder("node")?;
    for file in ["package.json", "package-lock.json", "event.mjs", "socket-io.mjs", "graphql-ws.mjs"] {
        std::fs::copy(sources().join("node").join(file), folder.join(file))?;
    }
    if !folder.join("node_modules/.package-lock.json").is_file() {
        let mut install = Command::new("npm");
        install.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&folder);
        succeed(install, "install Node 20 or newer with npm, and let it reach a registry").await?;
    }
    let address = free_address()?;
    let port = port_of(&address);
    let (file, dialect) = match contender {
        Contender::SocketIo => ("socket-io.mjs", Dialect::SocketIo),
        _ => {
            let query =
                "subscription { events(channel: \"bench.one\") { id type time data sequence cursor } }";
            ("graphql-ws.mjs", graphql(None, vec![query.to_owned()]))
        }
    };
    let child = spawn(Command::new("node").args([file, port]).current_dir(&folder))?;
    Ok(server(child, address, dialect, false))
}

/// Nchan, in an nginx with settings and folders of its own.
pub(super) fn nchan() -> Result<Server> {
    let module = Path::new("/usr/lib/nginx/modules/ngx_nchan_module.so");
    if !module.is_file() {
        return Err("Nchan is not installed: apt-get install nginx libnginx-mod-nchan".into());
    }
    let folder = work_folder("nchan")?;
    let address = free_address()?;
    let settings = std::fs::read_to_string(sources().join("nchan/nginx.conf"))?
        .replace("@MODULE@", &module.to_string_lossy())
        .replace("@FOLDER@", &folder.to_string_lossy())
        .replace("@ADDRESS@", &address);
    let file = folder.join("nginx.conf");
    std::fs::write(&file, settings)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file).arg("-p").arg(&folder).arg("-e").arg(folder.join("error.log"));
    Ok(server(spawn(&mut command)?, address, Dialect::Bare { path: "/subscribe".to_owned() }, true))
}

/// centrifuge, the engine of Centrifugo, as Debian ships its source.
pub(super) async fn centrifuge() -> Result<Server> {
    let program = work_folder("centrifuge")?.join("server");
    if !program.is_file() {
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&program).arg("main.go").current_dir(sources().join("centrifuge"));
        // Debian's Go libraries are a GOPATH, from before modules; nothing is downloaded.
        build.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOFLAGS", "-buildvcs=false");
        succeed(build, "apt-get install golang-go and golang-github-{centrifugal-centrifuge,centrifugal-protocol,fzambia-eagle,igm-sockjs-go,mna-redisc}-dev").await?;
    }
    let address = free_address()?;
    let child = spawn(Command::new(program).arg(&address))?;
    Ok(server(child, address, Dialect::Centrifuge, false))
}

fn server(child: tokio::process::Child, address: String, dialect: Dialect, whole: bool) -> Server {
    let outlet =
        Outlet { address: address.clone(), path: "/publish".to_owned(), token: None, whole, batches: false };
    Server { children: vec![child], address, dialect, outlet, database: None }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// A folder beside this program, so that it goes with the build.
fn work_folder(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().ok_or("this program is in no folder")?.join("bench-peers").join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn port_of(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or(address)
}

async fn succeed(mut command: Command, advice: &str) -> Result<()> {
    let told = command.output().await.map_err(|error| format!("{error}; {advice}"))?;
    if !told.status.success() {
        return Err(format!("{}; {advice}", String::from_utf8_lossy(&told.stderr).trim()).into());
    }
    Ok(())
}
