//! The driver's commands, carried out.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet, spawn_local};

use super::command::{Answer, Comeback, Command, Outcome};
use super::crowd::{Crowd, Schedule};
use super::dialect::Dialect;
use super::publisher::{Outlet, Publisher};
use super::subscriber::Subscriber;

/// How many connect at the same time when there is no hurry.
const AT_ONCE: usize = 50;
/// How long nothing may come before the rest counts as lost.
const PATIENCE: Duration = Duration::from_secs(15);
const GLANCE: Duration = Duration::from_millis(5);
/// How long, for each subscriber, until another event is published while not all have heard one.
const WARMING: Duration = Duration::from_micros(100);
/// From the command to the first event.
const LEAD: Duration = Duration::from_millis(100);
/// How long after a failed connection the next is tried, in a storm.
const RETRY: Duration = Duration::from_millis(100);

/// Everything that is connected.
pub(super) struct Session {
    crowd: Rc<Crowd>,
    server: Option<Server>,
    listeners: JoinSet<()>,
    /// The number of the next event.
    next: u32,
    publishing: Option<JoinHandle<Result<(), String>>>,
}

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    dialect: Rc<Dialect>,
    outlet: Outlet,
}

impl Session {
    pub(super) fn new() -> crate::Result<Self> {
        let crowd = Rc::new(Crowd::new()?);
        Ok(Self { crowd, server: None, listeners: JoinSet::new(), next: 0, publishing: None })
    }

    pub(super) async fn obey(&mut self, command: Command) -> Result<Answer, String> {
        let answer = match command {
            Command::Connect { address, dialect, outlet, subscribers, sleepers, resume } => {
                let address = address.parse().map_err(|_| format!("{address} is no address"))?;
                self.server = Some(Server { address, dialect: Rc::new(dialect), outlet });
                self.crowd.cursors.replace(resume.then(Vec::new));
                self.connect(subscribers, sleepers).await?;
                self.warm().await?;
                Answer::Done
            }
            Command::Run { per_second, events } => {
                self.begin(per_second, events).await?;
                Answer::Ran(self.end().await?)
            }
            Command::Begin { per_second, events } => {
                self.begin(per_second, events).await?;
                Answer::Done
            }
            Command::End => Answer::Ran(self.end().await?),
            Command::Sleep { subscribers } => {
                self.crowd.sleep(subscribers);
                Answer::Done
            }
            Command::Settle => {
                self.settle().await?;
                Answer::Done
            }
            Command::Cut => Answer::Back(self.cut().await?),
        };
        self.crowd.check()?;
        Ok(answer)
    }

    fn server(&self) -> Result<Server, String> {
        self.server.clone().ok_or_else(|| "not connected".to_owned())
    }

    async fn connect(&mut self, subscribers: usize, sleepers: usize) -> Result<(), String> {
        let server = self.server()?;
        let places = Rc::new(Semaphore::new(AT_ONCE));
        let mut opening = JoinSet::new();
        for n in 0..subscribers {
            let (crowd, server, places) = (self.crowd.clone(), server.clone(), places.clone());
            let member = crowd.join();
            opening.spawn_local(async move {
                let _place = places.acquire().await.map_err(|error| error.to_string())?;
                Subscriber::open(server.address, server.dialect, crowd, member, n < sleepers).await
            });
        }
        while let Some(opened) = opening.join_next().await {
            self.listeners.spawn_local(opened.map_err(|error| error.to_string())??.listen());
        }
        Ok(())
    }

    /// Publishes until every subscriber has heard something: only then is every subscription known to be live.
    async fn warm(&mut self) -> Result<(), String> {
        let mut publisher = Publisher::connect(&self.server()?.outlet).await?;
        let (mut deaf, mut moved) = (usize::MAX, Instant::now());
        loop {
            self.crowd.check()?;
            let now_deaf = self.crowd.short_of(None);
            if now_deaf == 0 {
                break;
            }
            if now_deaf < deaf {
                (deaf, moved) = (now_deaf, Instant::now());
            } else if moved.elapsed() > PATIENCE {
                return Err(format!("{deaf} subscribers hear nothing"));
            }
            publisher.publish(self.next..self.next + 1).await?;
            self.next += 1;
            tokio::time::sleep(WARMING * self.listeners.len() as u32).await;
        }
        publisher.finish().await?;
        self.settle().await
    }

    async fn begin(&mut self, per_second: u32, events: u32) -> Result<(), String> {
        let publisher = Publisher::connect(&self.server()?.outlet).await?;
        let schedule = Schedule { begin: Instant::now() + LEAD, first: self.next, per_second };
        self.crowd.begin(schedule);
        self.next += events;
        self.publishing = Some(spawn_local(publisher.follow(schedule, events)));
        Ok(())
    }

    async fn end(&mut self) -> Result<Outcome, String> {
        if let Some(publishing) = self.publishing.take() {
            publishing.await.map_err(|error| error.to_string())??;
        }
        self.settle().await?;
        let [p50, p99, max] = self.crowd.latency([0.5, 0.99, 1.0]);
        let (deliveries, seconds) = (self.crowd.deliveries(), self.crowd.elapsed().as_secs_f64());
        Ok(Outcome { deliveries, seconds, p50, p99, max })
    }

    /// Waits until every subscriber that reads has everything, or nothing has come for too long.
    async fn settle(&mut self) -> Result<(), String> {
        let (mut deliveries, mut moved) = (self.crowd.deliveries(), Instant::now());
        loop {
            self.crowd.check()?;
            let short = self.crowd.short_of(Some(self.next));
            if short == 0 {
                return Ok(());
            }
            if self.crowd.deliveries() > deliveries {
                (deliveries, moved) = (self.crowd.deliveries(), Instant::now());
            } else if moved.elapsed() > PATIENCE {
                return Err(format!("{short} subscribers are short of events"));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    async fn cut(&mut self) -> Result<Comeback, String> {
        let server = self.server()?;
        let members = self.listeners.len();
        self.listeners.shutdown().await;
        let cut = Instant::now();
        self.crowd.cut(cut);
        let retries = Rc::new(Cell::new(0));
        let mut opening = JoinSet::new();
        for member in 0..members {
            opening.spawn_local(come_back(server.clone(), self.crowd.clone(), member, retries.clone()));
        }
        while let Some(opened) = opening.join_next().await {
            self.listeners.spawn_local(opened.map_err(|error| error.to_string())?.listen());
        }
        let subscribed_seconds = cut.elapsed().as_secs_f64();
        while self.crowd.caught_up().0 < members {
            self.crowd.check()?;
            if self.publishing.as_ref().is_none_or(JoinHandle::is_finished) {
                // Whoever was not on time before the last event is up to date when it has that one.
                self.settle().await?;
                break;
            }
            tokio::time::sleep(GLANCE).await;
        }
        let (prompt, last) = self.crowd.caught_up();
        let caught_up = if prompt < members { self.crowd.last_receipt().duration_since(cut) } else { last };
        let caught_up_seconds = caught_up.as_secs_f64();
        Ok(Comeback { subscribed_seconds, caught_up_seconds, retries: retries.get() })
    }
}

/// Connects again, and again, as clients do.
async fn come_back(server: Server, crowd: Rc<Crowd>, member: usize, retries: Rc<Cell<u64>>) -> Subscriber {
    loop {
        let (dialect, crowd) = (server.dialect.clone(), crowd.clone());
        match Subscriber::open(server.address, dialect, crowd, member, false).await {
            Ok(subscriber) => return subscriber,
            Err(_) => retries.set(retries.get() + 1),
        }
        tokio::time::sleep(RETRY).await;
    }
}
