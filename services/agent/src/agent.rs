//! Puts an agent together and runs it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use crate::clock;
use crate::collect::files::Roots;
use crate::collect::scheduler::Scheduler;
use crate::collect::{self, Planned};
use crate::mailbox::Mailbox;
use crate::settings::Settings;
use crate::spool::{Spool, SpoolError};
use crate::telemetry::Telemetry;
use crate::uplink::{TcpConnect, Uplink};

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No random numbers, so no session of its own.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// The directory for the spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// An agent that is ready to run.
pub struct Agent {
    settings: Arc<Settings>,
    collectors: Vec<Planned>,
    telemetry: Arc<Telemetry>,
    spool: Arc<Spool>,
    seed: u64,
}

impl Agent {
    /// An agent with its own collectors, metrics and identity. It does nothing yet.
    ///
    /// # Errors
    /// When the system gives no random numbers, or the directory for the spool cannot be used.
    pub fn new(settings: Settings) -> Result<Self, AgentError> {
        let mut random = [0; 24];
        getrandom::fill(&mut random).map_err(|error| AgentError::Random(error.to_string()))?;
        let (session, seed) = random.split_at(16);
        let seed = seed.iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        let session: String = session.iter().map(|byte| format!("{byte:02x}")).collect();
        let spool = Spool::open(&settings.spool, &session, &host_mark(&settings), clock::boot(seed))?;
        Ok(Self {
            collectors: collect::planned(&settings.collect),
            settings: Arc::new(settings),
            telemetry: Arc::new(Telemetry::new()),
            spool: Arc::new(spool),
            seed,
        })
    }

    /// Collects and pushes until told to stop, then says `bye`. It is back within half a second
    /// of the stop, whatever hangs: a thread that hangs on a dead mount is left behind.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { settings, collectors, telemetry, spool, seed } = self;
        let mut stop = pin!(stop);
        // Whoever reads "agent starts" may already send a signal: it is listened for before.
        tokio::select! {
            biased;
            () = &mut stop => return,
            () = std::future::ready(()) => {}
        }
        let aggregators: Vec<String> = settings.aggregators.iter().map(ToString::to_string).collect();
        tracing::info!(
            agent = %settings.agent,
            aggregators = aggregators.join(","),
            interval_ms = u64::try_from(settings.interval.as_millis()).unwrap_or(u64::MAX),
            collectors = collectors.len(),
            switched = settings.collect.switched(),
            "agent starts"
        );
        let mailbox = Arc::new(Mailbox::new(Arc::clone(&spool)));
        let roots =
            Roots::new(settings.host_root.as_deref()).with(settings.host_proc.as_deref(), settings.host_sys.as_deref());
        if cfg!(target_os = "linux") && !roots.proc.join("stat").exists() {
            let (root, proc) = (roots.root.display().to_string(), roots.proc.display().to_string());
            tracing::warn!(root, proc, "that is no host: FLEETGAUGE_HOST_ROOT should be where its / is mounted");
        }
        let scheduler =
            Scheduler::new(collectors, roots, settings.interval, Arc::clone(&telemetry)).above(spool.base());
        let thread = {
            let mailbox = Arc::clone(&mailbox);
            let name = std::thread::Builder::new().name("schedule".to_owned()).stack_size(256 * 1024);
            name.spawn(move || scheduler.run(clock::now, &mailbox, &mailbox.pace))
        };
        if let Err(error) = thread {
            tracing::error!(%error, "cannot start the thread that collects");
            return;
        }
        let connect = TcpConnect::new(settings.interval);
        let pace = Arc::clone(&mailbox);
        let mut uplink = Uplink::new(connect, settings, mailbox, telemetry, clock::now, seed);
        tokio::select! {
            () = uplink.run() => {}
            () = &mut stop => {}
        }
        pace.pace.stop();
        uplink.farewell().await;
        tracing::info!("agent stopped");
    }
}

/// What tells this host from one that was copied from it: the machine's id, else its name.
fn host_mark(settings: &Settings) -> String {
    let root = settings.host_root.as_deref().unwrap_or(std::path::Path::new("/"));
    let id = std::fs::read_to_string(root.join("etc/machine-id")).unwrap_or_default();
    if id.trim().is_empty() { lifecycle::host::name() } else { id }
}
