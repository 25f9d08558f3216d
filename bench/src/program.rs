//! The program under measurement, as a child process.

use std::net::TcpListener;
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::Result;
use crate::setting::{Setting, Tenant};

/// A running `nuncio`.
pub(crate) struct Program {
    child: Child,
    /// Where it serves clients.
    pub(crate) address: String,
}

impl Program {
    /// Starts the program in this role.
    pub(crate) fn start(setting: &Setting, tenant: &Tenant, role: &str) -> Result<Self> {
        let address = free_address()?;
        let child = Command::new(&setting.binary)
            .arg(role)
            .env("DATABASE_URL", &tenant.database)
            .env("AMQP_URL", setting.amqp_url())
            .env("NUNCIO_LISTEN", &address)
            .env("NUNCIO_OPS_LISTEN", free_address()?)
            .env("NUNCIO_LOG", "warn")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child, address })
    }

    /// The processor time it has used, in milliseconds: user and system, of all threads.
    pub(crate) fn cpu_milliseconds(&self) -> Result<f64> {
        let pid = self.child.id().ok_or("the program has ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // proc(5): fields 14 and 15, in ticks of 10 ms; the second field may hold spaces, but ends with the last `)`.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        Ok((ticks(11) + ticks(12)) * 10.0)
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
