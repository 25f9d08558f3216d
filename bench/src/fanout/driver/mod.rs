//! The load driver: a process of its own, so that its work is not counted as the server's, on one thread, so that it
//! leaves the server a processor.

mod command;
mod crowd;
mod dialect;
mod frames;
mod history;
mod marker;
mod publisher;
mod session;
mod subscriber;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

pub(crate) use command::{Answer, Comeback, Command, Outcome};
pub(crate) use dialect::Dialect;
pub(crate) use publisher::Outlet;
use session::Session;

use crate::Result;

/// Does what the lines of standard input say until they end.
pub(crate) async fn run() -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut out = tokio::io::stdout();
    let mut session = Session::new()?;
    while let Some(line) = lines.next_line().await? {
        let answer = session.obey(serde_json::from_str(&line)?).await.unwrap_or_else(Answer::Failed);
        let mut text = serde_json::to_string(&answer)?;
        text.push('\n');
        out.write_all(text.as_bytes()).await?;
        out.flush().await?;
    }
    Ok(())
}
