//! Many agents at once, and the ways in which they push: once, evenly spread over an interval, or
//! as fast as they are acknowledged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::agent::Agent;
use crate::load::Load;
use crate::{Error, Result};

/// Connections that are being made at the same time: fewer than any listen queue holds.
const CONNECTING_MAX: usize = 64;

/// Connected agents, in the order of their numbers.
#[derive(Debug)]
pub struct Fleet {
    agents: Vec<Agent>,
    /// Where in the load the next push of everyone is.
    round: usize,
}

/// What runs beside the fleet's pushing can see of it and do to it.
#[derive(Debug, Default)]
pub struct Watch {
    stop: AtomicBool,
    acked: AtomicU64,
}

impl Watch {
    /// Ends the pushing after the pushes that are under way.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// How many pushes were acknowledged since the pushing began.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Fleet {
    /// Connects agents 0 to `agents`, each with all its sets declared.
    ///
    /// # Errors
    /// When one of them cannot connect or is refused.
    pub async fn connect(link: SocketAddr, agents: usize, declaration: Vec<u8>) -> Result<Self> {
        // Another session in each run, so that the aggregator never takes a push for a duplicate.
        let session = format!("bench-{:x}-{:x}", std::process::id(), lifecycle::clock::unix_ms());
        let doors = Arc::new(Semaphore::new(CONNECTING_MAX));
        let declaration = Bytes::from(declaration);
        let mut tasks = JoinSet::new();
        for number in 0..agents {
            let (doors, session, declaration) = (doors.clone(), session.clone(), declaration.clone());
            tasks.spawn(async move {
                let _one = doors.acquire().await;
                Ok((number, Agent::connect(link, number, &session, &declaration).await?))
            });
        }
        Ok(Self { agents: gather(tasks).await?, round: 0 })
    }

    /// How many agents there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.agents.len()
    }

    /// No agents at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    /// The last `count` agents, taken out to be driven by themselves.
    #[must_use]
    pub fn split_off(&mut self, count: usize) -> Vec<Agent> {
        self.agents.split_off(self.agents.len().saturating_sub(count))
    }

    /// Puts back what [`Fleet::split_off`] took out.
    pub fn put_back(&mut self, mut agents: Vec<Agent>) {
        self.agents.append(&mut agents);
    }

    /// Everyone pushes once, at once, and is acknowledged.
    ///
    /// # Errors
    /// When one of them breaks.
    pub async fn push_once(&mut self, load: &Load) -> Result<()> {
        let (load, round) = (load.clone(), self.round);
        self.round += 1;
        self.each(move |number, mut agent| {
            let lines = load.lines(number, round);
            async move {
                agent.push(lines).await?;
                agent.wait_for_acks(0).await?;
                Ok(agent)
            }
        })
        .await
    }

    /// Everyone pushes in each of `rounds` intervals, agents evenly spread over the interval, and
    /// is acknowledged; fewer rounds when `watch` stops it.
    ///
    /// # Errors
    /// When one of them breaks.
    pub async fn push_spread(
        &mut self,
        load: &Load,
        interval: Duration,
        rounds: usize,
        watch: Arc<Watch>,
    ) -> Result<()> {
        let (load, first, start) = (load.clone(), self.round, Instant::now());
        self.round += rounds;
        let count = u32::try_from(self.agents.len()).unwrap_or(u32::MAX).max(1);
        self.each(move |number, mut agent| {
            let (load, watch) = (load.clone(), watch.clone());
            let mut at = start + interval / count * u32::try_from(number).unwrap_or(u32::MAX);
            async move {
                for round in first..first + rounds {
                    sleep_until(at).await;
                    if watch.stopped() {
                        break;
                    }
                    agent.push(load.lines(number, round)).await?;
                    at += interval;
                }
                agent.wait_for_acks(0).await?;
                Ok(agent)
            }
        })
        .await
    }

    /// Everyone pushes as fast as it is acknowledged, until `watch` stops it.
    ///
    /// # Errors
    /// When one of them breaks.
    pub async fn push_flood(&mut self, load: &Load, watch: Arc<Watch>) -> Result<()> {
        let (load, first) = (load.clone(), self.round);
        self.each(move |number, mut agent| {
            let (load, watch) = (load.clone(), watch.clone());
            async move {
                let mut round = first;
                let mut counted = agent.acked();
                while !watch.stopped() {
                    agent.push(load.lines(number, round)).await?;
                    round += 1;
                    watch.acked.fetch_add(agent.acked() - counted, Ordering::Relaxed);
                    counted = agent.acked();
                }
                agent.wait_for_acks(0).await?;
                Ok(agent)
            }
        })
        .await
    }

    /// Everyone says bye.
    ///
    /// # Errors
    /// When one of them breaks before the aggregator closed its connection.
    pub async fn bye(self) -> Result<()> {
        let mut tasks = JoinSet::new();
        for agent in self.agents {
            tasks.spawn(agent.bye());
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }

    /// One task for each agent, at the same time. When one fails, all others are dropped.
    async fn each<F, Fut>(&mut self, work: F) -> Result<()>
    where
        F: Fn(usize, Agent) -> Fut,
        Fut: Future<Output = Result<Agent>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for (number, agent) in std::mem::take(&mut self.agents).into_iter().enumerate() {
            let working = work(number, agent);
            tasks.spawn(async move { Ok((number, working.await?)) });
        }
        self.agents = gather(tasks).await?;
        Ok(())
    }
}

/// All agents that the tasks give back, in the order of their numbers.
async fn gather(mut tasks: JoinSet<Result<(usize, Agent)>>) -> Result<Vec<Agent>> {
    let mut agents = Vec::with_capacity(tasks.len());
    while let Some(done) = tasks.join_next().await {
        agents.push(done.map_err(Error::from)??);
    }
    agents.sort_by_key(|(number, _)| *number);
    Ok(agents.into_iter().map(|(_, agent)| agent).collect())
}
