//! HTTP: routes and what they answer. How connections are accepted and bounded is `serve`'s
//! matter, what a page consists of [`crate::page`]'s.

mod api;
mod crowd;
mod history;
mod negotiate;
mod patient;
mod serve;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warp::filters::header::optional as header;
use warp::http::{StatusCode, header as name};
use warp::reply::Response as Reply;
use warp::{Filter, Rejection, Reply as _};

use self::crowd::{Activity, Busy};
use self::history::Readers;
pub use self::serve::thread;
use crate::fleet::Moment;
use crate::fleet::agent::Shown;
use crate::link::{Shared, moment};
use crate::page::Page;
use crate::page::buffers::Buffers;
use crate::page::encode::Times;
use crate::page::own::Own;
use crate::page::stream::{Scrape, stream};
use crate::telemetry::Levels;

/// How long a page may take, from the request to the last byte. Prometheus gives up after 10 s by
/// default; somebody with a slow line may take longer, but not hold a slot for ever.
const SCRAPE_WITHIN: Duration = Duration::from_secs(60);

/// Pages of one agent that are sent at the same time: with `/api/v1/targets` there is a target for
/// each agent, and they are scraped whenever their turn comes.
const AGENT_PAGES_MAX: usize = 16;
/// How long a scrape waits for a slot before it is told to come back: well below Prometheus' 10 s.
const SLOT_WITHIN: Duration = Duration::from_secs(3);

/// What all requests share.
#[derive(Debug)]
pub struct Context {
    shared: Arc<Shared>,
    own: Own,
    /// Slots for pages of the whole fleet that are being sent, and for those of one agent.
    fleet_slots: Slots,
    agent_slots: Slots,
    /// What pages are written into.
    buffers: Buffers,
    /// Who reads the history.
    readers: Readers,
}

/// So many answers at the same time.
#[derive(Debug)]
struct Slots {
    free: Arc<Semaphore>,
    max: usize,
}

impl Slots {
    fn new(max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(max)), max }
    }

    /// Waits for a slot, for a while.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        tokio::time::timeout(SLOT_WITHIN, Arc::clone(&self.free).acquire_owned()).await.ok()?.ok()
    }
}

impl Context {
    /// What requests need of an aggregator.
    #[must_use]
    pub fn new(shared: Arc<Shared>, scrapes_max: usize) -> Self {
        let own = Own::new(shared.fleet.families_shared(), &shared.telemetry.gather(Levels::default()));
        let (fleet_slots, agent_slots) = (Slots::new(scrapes_max), Slots::new(AGENT_PAGES_MAX));
        Self { shared, own, fleet_slots, agent_slots, buffers: Buffers::default(), readers: Readers::new() }
    }

    fn answered(&self, path: &'static str, reply: Reply) -> Reply {
        self.shared.telemetry.request(path, reply.status().as_u16());
        reply
    }
}

/// All routes: unknown paths are answered 404, known ones with another method 405.
pub(in crate::http) fn routes(
    context: Arc<Context>,
    activity: Activity,
) -> impl Filter<Extract = (Reply,), Error = Infallible> + Clone + Send + Sync {
    let with = {
        let context = Arc::clone(&context);
        warp::any().map(move || Arc::clone(&context))
    };
    let busy = {
        let activity = activity.clone();
        warp::any().map(move || activity.is_busy())
    };
    let metrics = warp::path!("metrics")
        .and(warp::get())
        .and(warp::query::<HashMap<String, String>>())
        .and(header::<String>("accept"))
        .and(header::<String>("accept-encoding"))
        .and(with.clone())
        .and(busy.clone())
        .then(metrics);
    let history = history::routes(with.clone(), busy.clone());
    let agents = warp::path!("api" / "v1" / "agents").and(warp::get()).and(with.clone()).then(agents);
    let targets = warp::path!("api" / "v1" / "targets")
        .and(warp::get())
        .and(header::<String>("host"))
        .and(with.clone())
        .map(|host: Option<String>, context: Arc<Context>| {
            let reply = match host {
                Some(host) => warp::reply::json(&api::targets(&context.shared.fleet, &host)).into_response(),
                None => {
                    sentence(StatusCode::BAD_REQUEST, "the Host header is missing, and it is what targets are made of")
                }
            };
            context.answered("/api/v1/targets", reply)
        });
    let index = warp::path::end()
        .and(warp::get())
        .and(with.clone())
        .map(|context: Arc<Context>| context.answered("/", warp::reply::html(INDEX).into_response()));
    let ok = |path: &'static str, label: &'static str| {
        warp::path(path)
            .and(warp::path::end())
            .and(warp::get())
            .and(with.clone())
            .map(move |context: Arc<Context>| context.answered(label, "ok".into_response()))
    };
    let all = metrics
        .or(ok("healthz", "/healthz"))
        .unify()
        .or(ok("readyz", "/readyz"))
        .unify()
        .or(agents)
        .unify()
        .or(targets)
        .unify()
        .or(history)
        .unify()
        .or(index)
        .unify();
    warp::any()
        .map(move || activity.asks())
        .untuple_one()
        .and(all)
        .recover(move |rejection| rejected(Arc::clone(&context), rejection))
        .unify()
}

/// What no route took.
async fn rejected(context: Arc<Context>, rejection: Rejection) -> Result<Reply, Infallible> {
    let reply = if rejection.is_not_found() {
        sentence(StatusCode::NOT_FOUND, "not found; / lists what there is")
    } else if rejection.find::<warp::reject::MethodNotAllowed>().is_some() {
        let mut reply = sentence(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here");
        reply.headers_mut().insert(name::ALLOW, name::HeaderValue::from_static("GET"));
        reply
    } else {
        sentence(StatusCode::BAD_REQUEST, "the query or a header cannot be read")
    };
    Ok(context.answered("other", reply))
}

fn sentence(status: StatusCode, text: &str) -> Reply {
    warp::reply::with_status(format!("{text}\n"), status).into_response()
}

/// `GET /metrics`.
async fn metrics(
    query: HashMap<String, String>,
    accept: Option<String>,
    accept_encoding: Option<String>,
    context: Arc<Context>,
    busy: Busy,
) -> Reply {
    let began = moment();
    let slots = if query.contains_key("agent") { &context.agent_slots } else { &context.fleet_slots };
    let Some(slot) = slots.take().await else {
        context.shared.telemetry.scrape_aborted("busy");
        let text =
            format!("{} pages are being sent; FLEETGAUGE_MAX_SCRAPES limits those of the whole fleet", slots.max);
        let mut reply = sentence(StatusCode::SERVICE_UNAVAILABLE, &text);
        reply.headers_mut().insert(name::RETRY_AFTER, name::HeaderValue::from_static("1"));
        return context.answered("/metrics", reply);
    };
    let (page, times) = match page(&query, &context) {
        Ok(page) => page,
        Err((status, text)) => return context.answered("/metrics", sentence(status, &text)),
    };
    let format = negotiate::format(accept.as_deref());
    let gzip = negotiate::wants_gzip(accept_encoding.as_deref());
    let scrape = Scrape {
        format,
        times,
        gzip,
        began: began.instant,
        within: SCRAPE_WITHIN,
        telemetry: Arc::clone(&context.shared.telemetry),
    };
    let mut reply = warp::reply::stream(stream(page, scrape, &context.buffers, (slot, busy))).into_response();
    let headers = reply.headers_mut();
    headers.insert(name::CONTENT_TYPE, name::HeaderValue::from_static(format.content_type()));
    headers.insert(name::VARY, name::HeaderValue::from_static("Accept, Accept-Encoding"));
    if gzip {
        headers.insert(name::CONTENT_ENCODING, name::HeaderValue::from_static("gzip"));
    }
    context.answered("/metrics", reply)
}

/// `GET /api/v1/agents`. With many agents it is megabytes, so it takes a slot until it is sent.
async fn agents(context: Arc<Context>) -> Reply {
    let Some(slot) = context.agent_slots.take().await else {
        let reply = sentence(StatusCode::SERVICE_UNAVAILABLE, "too many answers are being sent");
        return context.answered("/api/v1/agents", reply);
    };
    let reply = match serde_json::to_vec(&api::agents(&context.shared.fleet, moment())) {
        Ok(json) => {
            let body = Bytes::from_owner(Held { bytes: json, _slot: slot });
            let body = futures_util::stream::iter([Ok::<_, Infallible>(body)]);
            warp::reply::with_header(warp::reply::stream(body), name::CONTENT_TYPE, "application/json").into_response()
        }
        Err(error) => sentence(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    context.answered("/api/v1/agents", reply)
}

/// An answer that keeps its slot until it is sent.
struct Held {
    bytes: Vec<u8>,
    _slot: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The page that a query asks for, and whether it says when things were measured.
fn page(query: &HashMap<String, String>, context: &Context) -> Result<(Page, Times), (StatusCode, String)> {
    let now = moment();
    let fleet = &context.shared.fleet;
    let mut times = if context.shared.exact { Times::Shown } else { Times::Hidden };
    for (key, value) in query {
        match key.as_str() {
            "agent" => {}
            "timestamps" if value == "0" => times = Times::Hidden,
            "timestamps" if value == "1" => times = Times::Shown,
            "timestamps" => {
                return Err((StatusCode::BAD_REQUEST, format!("timestamps={value:?}: there are timestamps=0 and =1")));
            }
            _ => {
                let text = format!("unknown parameter {key:?}; there are agent=NAME and timestamps=1");
                return Err((StatusCode::BAD_REQUEST, text));
            }
        }
    }
    if let Some(agent) = query.get("agent") {
        return match fleet.view_one(agent, now) {
            Some(view) if view.is_up => Ok((Page::new(view.shown), times)),
            None if !fleet.is_known(agent) => {
                Err((StatusCode::NOT_FOUND, format!("no agent called {agent:?} was ever heard")))
            }
            _ => Err((StatusCode::SERVICE_UNAVAILABLE, format!("agent {agent:?} is not connected"))),
        };
    }
    let views = fleet.view(now);
    let levels = Levels {
        connected: views.iter().filter(|view| view.is_up).count(),
        known: views.len(),
        series: views.iter().map(crate::fleet::AgentView::series).sum(),
        declared: (fleet.room().used(), fleet.room().max()),
        text: (context.shared.text.used(), context.shared.text.max()),
        families: fleet.families().len(),
        buffered: (context.shared.buffers.used(), context.shared.buffers.max()),
    };
    // Before the metrics are gathered, of which one says what it leaves out.
    let puts = puts(context, now);
    let registry = context.shared.telemetry.gather(levels);
    let mut sets =
        vec![context.own.registry(&registry), context.own.agents(&views, &fleet.rules().job, &context.shared.name)];
    sets.extend(puts);
    sets.extend(views.into_iter().flat_map(|view| view.shown));
    Ok((Page::new(sets), times))
}

/// What programs put a short while ago.
fn puts(context: &Context, now: Moment) -> Option<Shown> {
    let shared = &context.shared;
    let (puts, hidden) = shared.history.as_ref()?.fresh(now.instant);
    if puts.is_empty() {
        shared.telemetry.history.set_hidden(hidden);
        return None;
    }
    let agents = shared.fleet.names().into_iter().collect();
    let (shown, too_long) = context.own.puts(&puts, &agents);
    shared.telemetry.history.set_hidden(hidden + too_long);
    Some(shown)
}

/// `GET /`: links, nothing more.
const INDEX: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>FleetGauge</title>
<h1>FleetGauge aggregator</h1><ul>
<li><a href=/metrics>/metrics</a>: the whole fleet, for Prometheus; <code>?agent=NAME</code>: one agent, <code>?timestamps=1</code>: with times of measurement
<li><a href=/api/v1/agents>/api/v1/agents</a>: who is there, as JSON
<li><a href=/api/v1/targets>/api/v1/targets</a>: one target per agent, for http_sd_configs
<li><a href=/api/v1/keys>/api/v1/keys</a>: what is in the history; <code>/api/v1/history?key=KEY</code>: its points
<li><a href=/healthz>/healthz</a>, <a href=/readyz>/readyz</a>
</ul></html>\n";

#[cfg(test)]
mod tests;
