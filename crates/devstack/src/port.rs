//! Free ports on 127.0.0.1.

use std::net::TcpListener;
use std::path::Path;

use crate::Error;
use crate::folder::Folder;

/// A port that nobody listens on now. Another process may take it before the server does; the server then ends
/// at once and its start is tried again.
pub(crate) fn free() -> Result<u16, Error> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(Error::io("find a free port on", Path::new("127.0.0.1")))
}

/// The port kept in the folder under this name while it is free, so that URLs stay the same from start to start.
pub(crate) fn kept(folder: &Folder, name: &str) -> Result<u16, Error> {
    let before = folder.read(name).and_then(|text| text.parse().ok());
    if let Some(port) = before.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
        return Ok(port);
    }
    let port = free()?;
    folder.write(name, &port.to_string())?;
    Ok(port)
}
