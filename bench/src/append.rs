//! The append alone, without a broker: where ingest is slow, this tells whether the database is why.

use std::time::Instant;

use bytes::Bytes;
use nuncio_model::{Channel, Data, Draft, NamespaceSettings};
use nuncio_store::{Entry, Policy};

use crate::Result;
use crate::baseline::{BODY_BYTES, append_alone, body};
use crate::setting::Setting;

/// Appends and prints events per second, beside the bare append.
pub(crate) async fn run(setting: &Setting, events: usize, batch: usize) -> Result<()> {
    let bare = append_alone(setting, "bare", events).await?;
    let tenant = setting.tenant("append").await?;
    let begun = Instant::now();
    for start in (0..events).step_by(batch) {
        let entries = (0..batch).map(|n| entry(start + n, n)).collect::<Result<Vec<_>>>()?;
        let appended = tenant.store.append(tenant.project, entries).await?;
        if appended.events.len() != batch {
            return Err(format!("{} of {batch} events were stored", appended.events.len()).into());
        }
    }
    let rate = events as f64 / begun.elapsed().as_secs_f64();
    println!("bare append {bare:.0}/s, store.append {rate:.0}/s, ratio {:.2}", rate / bare);
    Ok(())
}

fn entry(id: usize, n: usize) -> Result<Entry> {
    let draft = Draft {
        channel: Channel::parse(&format!("bench.c{}", n % 20))?,
        id: format!("m-{id}"),
        source: "/amqp".to_owned(),
        r#type: "bench".to_owned(),
        subject: None,
        time: None,
        content_type: None,
        data: Data::Json(Bytes::from(body(id, BODY_BYTES))),
        extensions: Default::default(),
    };
    Ok(Entry { draft, policy: Policy::of(&NamespaceSettings::default()), batch: u32::try_from(n)? })
}
