//! What changes something over HTTP: `DELETE /api/v1/agents/NAME`.
//!
//! Who may do that is [`super::gate`]'s to say, before any route is asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use security::glob;
use serde::Serialize;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response as Reply;
use warp::{Filter, Reply as _};

use super::{Context, sentence};
use crate::fleet::upkeep::Forgotten;
use crate::link::moment;

/// The path, as metrics have it.
pub(super) const PATH: &str = "/api/v1/agents/NAME";

/// The answer.
#[derive(Debug, Serialize)]
struct Answer {
    dry_run: bool,
    forgotten: Vec<One>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct One {
    name: String,
    connected: bool,
}

/// The routes.
pub(super) fn routes(
    with: impl Filter<Extract = (Arc<Context>,), Error = Infallible> + Clone + Send + Sync + 'static,
) -> BoxedFilter<(Reply,)> {
    warp::path!("api" / "v1" / "agents" / String)
        .and(warp::delete())
        .and(warp::query::<HashMap<String, String>>())
        .and(with)
        .map(|name: String, query: HashMap<String, String>, context: Arc<Context>| {
            context.answered(PATH, forget(&context, &name, &query))
        })
        .boxed()
}

/// Forgets all agents that the pattern names.
pub(super) fn forget(context: &Context, pattern: &str, query: &HashMap<String, String>) -> Reply {
    let dry_run = match query.get("dry_run").map(String::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return sentence(StatusCode::BAD_REQUEST, "dry_run is true or false"),
    };
    if let Some(unknown) = query.keys().find(|key| *key != "dry_run") {
        let text = format!("unknown parameter {unknown:?}; there is dry_run=true");
        return sentence(StatusCode::BAD_REQUEST, &text);
    }
    let pattern = percent_encoding::percent_decode_str(pattern).decode_utf8_lossy().into_owned();
    let forgotten = context.shared.fleet.forget_matching(|name| glob::matches(&pattern, name), dry_run, moment());
    if forgotten.is_empty() {
        return sentence(StatusCode::NOT_FOUND, &format!("no agent that is known is called {pattern:?}"));
    }
    let count = forgotten.len();
    tracing::info!(pattern, count, dry_run, "agents forgotten by an operator");
    let is_any_connected = forgotten.iter().any(|one| one.was_connected);
    let note = is_any_connected.then_some("those that are connected come back by themselves, unless they are stopped");
    let forgotten =
        forgotten.into_iter().map(|Forgotten { name, was_connected }| One { name, connected: was_connected }).collect();
    warp::reply::json(&Answer { dry_run, forgotten, note }).into_response()
}
