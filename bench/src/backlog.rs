//! A backlog in a quorum queue, taken into the log: events per second, beside what the servers do alone (P7), and how
//! many events share a commit (P10: an append is six statements and one commit, which a test of the store counts).

use std::time::{Duration, Instant};

use crate::Result;
use crate::baseline::{append_alone, connect, consume_alone, publish_backlog};
use crate::program::Program;
use crate::setting::Setting;

/// A worker that has not moved for this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

struct Round {
    consume: f64,
    append: f64,
    ingest: f64,
    cpu_per_event: f64,
    events_per_commit: f64,
}

/// Measures in alternation and prints a table with the median ratio.
pub(crate) async fn run(setting: &Setting, messages: usize, rounds: usize) -> Result<()> {
    println!(
        "| round | consume alone /s | bare append alone /s | Nuncio /s | ratio to the slower | µs CPU per event | events per commit |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let Round { consume, append, ingest, cpu_per_event, events_per_commit } =
            one_round(setting, round, messages).await?;
        let ratio = ingest / consume.min(append);
        println!(
            "| {round} | {consume:.0} | {append:.0} | {ingest:.0} | {ratio:.2} | {cpu_per_event:.1} | {events_per_commit:.0} |"
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios.first().unwrap_or(&0.0), ratios.last().unwrap_or(&0.0));
    println!("\nP7: median ratio {:.2} ({least:.2}–{most:.2}), goal 0.40\n", ratios[ratios.len() / 2]);
    Ok(())
}

async fn one_round(setting: &Setting, round: usize, messages: usize) -> Result<Round> {
    let tenant = setting.tenant(&format!("backlog{round}")).await?;
    let link = setting.link().await?;
    let names = link.declare_project(&tenant.name).await?;
    publish_backlog(&link, &names.exchange, messages).await?;
    let consume = consume_alone(&link, &names.ingest, messages).await?;
    let append = append_alone(setting, &format!("bare{round}"), messages).await?;
    publish_backlog(&link, &names.exchange, messages).await?;

    let program = Program::start(setting, &tenant, "worker")?;
    let (mut position, mut moved) = (0, Instant::now());
    let (mut first, mut cpu_first) = (None, 0.0);
    while position < messages as i64 {
        let now = tenant.store.head(tenant.project).await?.position;
        if now > position {
            (position, moved) = (now, Instant::now());
            if first.is_none() {
                first = Some((now, moved));
                cpu_first = program.cpu_milliseconds()?;
            }
        } else if moved.elapsed() > PATIENCE {
            return Err(format!("short: {position} of {messages} events arrived").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (first_position, begun) = first.ok_or("nothing arrived")?;
    let counted = (position - first_position) as f64;
    let ingest = counted / (moved - begun).as_secs_f64();
    let cpu_per_event = (program.cpu_milliseconds()? - cpu_first) * 1_000.0 / counted;
    program.stop().await?;
    let client = connect(&tenant.database).await?;
    check(&client, messages).await?;
    // An append stamps all its events with one time, and no two appends share one.
    let appends: i64 = client.query_one("select count(distinct stored_at) from events", &[]).await?.get(0);
    let events_per_commit = messages as f64 / appends as f64;
    Ok(Round { consume, append, ingest, cpu_per_event, events_per_commit })
}

/// Every message is there, once, in the order published, without holes.
async fn check(client: &tokio_postgres::Client, messages: usize) -> Result<()> {
    let row = client
        .query_one(
            "select count(*), count(distinct id), max(position), count(*) filter (where id <> 'm-' || position - 1) from events",
            &[],
        )
        .await?;
    let (count, distinct, last, displaced): (i64, i64, i64, i64) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    if [count, distinct, last] != [messages as i64; 3] || displaced != 0 {
        return Err(format!(
            "wrong: {count} rows, {distinct} ids, last position {last}, {displaced} out of order"
        )
        .into());
    }
    Ok(())
}
