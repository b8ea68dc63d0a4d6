//! An aggregator that is a process, the cables to it, who pushes and puts through them, who scrapes,
//! and who takes its remote write. What is said of all that in the end stands in `judge`.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::database::Database;
use super::looks::Look;
use super::putter::Putter;
use super::real::RealAgent;
use crate::fault::{Cable, Schedule};
use crate::page::Page;
use crate::service::{self, Ports, Service};
use crate::sim::{self, Sim};
use crate::{http, wait};

/// Looks at the page that are kept: a run that takes more of them cannot be judged.
pub(super) const LOOKS_MAX: usize = 20_000;
/// How long after the last measurement everything must be settled.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// A scrape that is not answered by then is none. It has the time at which it was asked for, where the
/// page says none, so it must not take long.
const SCRAPE_WITHIN: Duration = Duration::from_secs(1);

/// Where nobody listens.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// How a world is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Between two measurements of an agent.
    pub interval: Duration,
    /// Between two scrapes.
    pub scrape_every: Duration,
    /// Pages say when their values were measured.
    pub is_exact: bool,
    /// `FLEETGAUGE_DURABILITY`: does an ack wait for the disk?
    pub durability: &'static str,
    /// A real Prometheus takes all of it, this program.
    pub prometheus: Option<PathBuf>,
    /// How connections of the link are hurt.
    pub link: Schedule,
    /// How connections of put and get are hurt.
    pub line: Schedule,
}

impl Plan {
    /// Nothing is hurt; everything is quick.
    #[must_use]
    pub fn quick(seed: u64) -> Self {
        Self {
            seed,
            interval: Duration::from_millis(250),
            scrape_every: Duration::from_millis(250),
            is_exact: seed.is_multiple_of(2),
            durability: "sync",
            prometheus: None,
            link: Schedule::quiet(),
            line: Schedule::quiet(),
        }
    }
}

/// Everybody.
#[derive(Debug)]
pub struct World {
    /// How it is.
    pub plan: Plan,
    /// What is left to chance in a scenario.
    pub random: fastrand::Rng,
    /// Who pushes.
    pub sims: Vec<Sim>,
    /// Real agents, processes with spools on the disk.
    pub agents: Vec<RealAgent>,
    /// Who puts.
    pub putters: Vec<Putter>,
    /// Who scrapes and takes remote write.
    pub database: Database,
    /// The network of the agents.
    pub link: Cable,
    /// The network of who puts.
    pub line: Cable,
    http: Cable,
    pub(super) looks: Arc<Mutex<Vec<Look>>>,
    pub(super) scraper: JoinHandle<()>,
    service: Option<Service>,
    ports: Ports,
    settings: Vec<(String, String)>,
    /// From when to when there was an aggregator; the last of them is there still.
    pub(super) lives: Vec<(i64, i64)>,
    _folder: TempDir,
}

impl World {
    /// Starts an aggregator and whoever looks at it.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(plan: Plan) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        // Nobody is there yet, but there will be.
        let http = Cable::to(NOWHERE).await;
        let database =
            Database::start(plan.prometheus.as_deref(), || http.addr().to_string(), plan.is_exact, plan.scrape_every)
                .await;
        let settings = [
            ("FLEETGAUGE_DATA_DIR", folder.path().join("data").display().to_string()),
            ("FLEETGAUGE_DISK_RESERVE", "0".to_owned()),
            ("FLEETGAUGE_REMOTE_WRITE_URL", database.url()),
            ("FLEETGAUGE_EXACT", plan.is_exact.to_string()),
            ("FLEETGAUGE_DURABILITY", plan.durability.to_owned()),
        ];
        let settings: Vec<_> = settings.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let began_ms = lifecycle::clock::unix_ms();
        let (service, ports) = service::aggregator(&settings).await?;
        let link = Cable::rough(ports.link, plan.link.clone()).await;
        let line = Cable::rough(ports.line, plan.line.clone()).await;
        http.lead_to(ports.http);
        let looks = Arc::<Mutex<Vec<Look>>>::default();
        let scraper = tokio::spawn(scrape(http.addr(), plan.scrape_every, Arc::clone(&looks)));
        Ok(Self {
            random: fastrand::Rng::with_seed(plan.seed),
            plan,
            sims: Vec::new(),
            agents: Vec::new(),
            putters: Vec::new(),
            database,
            link,
            line,
            http,
            looks,
            scraper,
            service: Some(service),
            ports,
            settings,
            lives: vec![(began_ms, i64::MAX)],
            _folder: folder,
        })
    }

    /// One more agent, by the name of its number.
    pub fn add_sim(&mut self, change: impl FnOnce(&mut sim::Settings)) {
        let number = self.sims.len();
        let mut settings = sim::Settings::new(&format!("sim{number}"), self.link.addr());
        settings.interval = self.plan.interval;
        settings.session = format!("sim-{}-{number}", self.plan.seed);
        change(&mut settings);
        self.sims.push(Sim::start(settings));
    }

    /// One more who puts.
    pub fn add_putter(&mut self) {
        let key = format!("put{}", self.putters.len());
        self.putters.push(Putter::start(&key, self.line.addr()));
    }

    /// One more real agent.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_agent(&mut self) -> Result<(), String> {
        let name = format!("agent{}", self.agents.len());
        self.agents.push(RealAgent::start(&name, self.link.addr(), self.plan.interval).await?);
        Ok(())
    }

    /// Where the aggregator is now.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// The aggregator's process.
    ///
    /// # Panics
    /// While it is down.
    #[must_use]
    pub fn aggregator(&self) -> &Service {
        self.service.as_ref().expect("the scenario has started the aggregator")
    }

    /// Ends the aggregator: SIGKILL, or SIGTERM.
    pub async fn end_aggregator(&mut self, is_killed: bool) {
        match self.service.take() {
            Some(service) if is_killed => service.kill().await,
            Some(service) => service.stop().await,
            None => {}
        }
        if let Some(life) = self.lives.last_mut() {
            life.1 = lifecycle::clock::unix_ms();
        }
    }

    /// Starts it again with what it left on its disk.
    ///
    /// # Errors
    /// When it refuses to.
    pub async fn start_aggregator(&mut self) -> Result<(), String> {
        let began_ms = lifecycle::clock::unix_ms();
        let (service, ports) = service::aggregator(&self.settings).await?;
        for (cable, target) in [(&self.link, ports.link), (&self.line, ports.line), (&self.http, ports.http)] {
            cable.lead_to(target);
        }
        self.lives.push((began_ms, i64::MAX));
        (self.service, self.ports) = (Some(service), ports);
        Ok(())
    }

    /// The page now.
    ///
    /// # Errors
    /// When there is none.
    pub async fn page(&self) -> Result<Page, String> {
        let reply = http::get(self.ports.http, "/metrics", &[]).await.map_err(|error| error.to_string())?;
        Ok(Page::parse_exact(reply.text()))
    }

    /// Waits until all agents that measure are on the page.
    pub async fn all_up(&self) {
        let all_up = async || {
            let page = self.page().await?;
            let names = self.sims.iter().map(Sim::name).chain(self.agents.iter().map(RealAgent::name));
            // A look at all samples for each of them would be quadratic in a herd.
            let up: BTreeSet<&str> =
                page.of("fleetgauge_agent_up").filter(|up| up.value == 1.0).map(|up| up.label("instance")).collect();
            let missing: Vec<_> = names.filter(|name| !up.contains(name)).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("not up: {missing:?}")) }
        };
        wait::until("all agents are up", all_up).await;
    }

    /// Waits until real agents have nothing left but what is under way. They send ten times as fast as
    /// they measure.
    async fn all_delivered(&self) -> Result<(), String> {
        let since = Instant::now();
        loop {
            let page = self.page().await?;
            let behind = |agent: &&RealAgent| {
                let backlog = page.value("fleetgauge_agent_backlog_seconds", &[("instance", agent.name())]);
                backlog.is_none_or(|seconds| seconds > 2.0 * self.plan.interval.as_secs_f64())
            };
            let behind: Vec<_> = self.agents.iter().filter(behind).map(RealAgent::name).collect();
            if behind.is_empty() {
                return Ok(());
            }
            if since.elapsed() > SETTLED_WITHIN {
                return Err(self.told(format!("not rid of their backlog: {behind:?}")));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends all faults and measurements, and waits until nothing is open.
    ///
    /// # Errors
    /// When something stays so.
    pub async fn settle(&mut self) -> Result<(), String> {
        self.link.calm();
        self.line.calm();
        for sim in &mut self.sims {
            sim.rest().await;
        }
        // What is in their spools when they end stays there.
        self.all_delivered().await?;
        let page = self.page().await?;
        let missing = |agent: &&RealAgent| {
            let of_agent = page
                .of("fleetgauge_agent_samples_missing_total")
                .filter(|sample| sample.label("instance") == agent.name());
            of_agent.map(|sample| sample.value).sum::<f64>() > 0.0
        };
        if let Some(agent) = self.agents.iter().find(missing) {
            return Err(self.told(format!("{} says that it lost something", agent.name())));
        }
        for agent in &mut self.agents {
            agent.rest().await;
        }
        self.putters.iter().for_each(Putter::rest);
        let settled = async {
            while !self.sims.iter().all(|sim| sim.look(sim::State::is_settled)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(SETTLED_WITHIN, settled).await.is_ok() {
            return Ok(());
        }
        let open = self.sims.iter().filter(|sim| !sim.look(sim::State::is_settled));
        let open: Vec<_> = open
            .map(|sim| {
                format!("{} waits with {}, was told {:?}", sim.name(), sim.look(sim::State::backlog), sim.seen())
            })
            .collect();
        Err(self.told(format!("{} agents are not rid of what they measured: {open:?}", open.len())))
    }

    /// What is wrong, with all that helps to find out why.
    pub(super) fn told(&self, error: String) -> String {
        let Plan { seed, is_exact, .. } = self.plan;
        let log = self.service.as_ref().map(Service::last_words).unwrap_or_default();
        let (link, line) = (self.link.schedule(), self.line.schedule());
        format!("seed {seed}, exact {is_exact}: {error}\nlink: {link}\nline: {line}\nthe aggregator said:\n{log}")
    }
}

pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Drop for World {
    fn drop(&mut self) {
        self.scraper.abort();
    }
}

/// Scrapes for ever, whether somebody answers or not.
async fn scrape(http: std::net::SocketAddr, every: Duration, looks: Arc<Mutex<Vec<Look>>>) {
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        let asked_ms = lifecycle::clock::unix_ms();
        let got = tokio::time::timeout(SCRAPE_WITHIN, http::get(http, "/metrics", &[])).await;
        let read_ms = lifecycle::clock::unix_ms();
        // One that was cut short by a machine that stood still is late all the same.
        let is_quick = read_ms - asked_ms <= millis(SCRAPE_WITHIN);
        let look = match got {
            Ok(Ok(reply)) if reply.status == 200 && is_quick => {
                Look::of(&Page::parse_exact(reply.text()), asked_ms, read_ms)
            }
            _ => Look::missed(asked_ms, read_ms),
        };
        let mut looks = looks.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.len() >= LOOKS_MAX {
            return;
        }
        looks.push(look);
    }
}
