//! Whether an agent may come in, and may stay. The token itself never crosses the link: the agent
//! proves that it has one. What a proof is, is `security::proof`'s matter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::frame::{Challenge, Hello, RefuseCode};
use protocol::{ToAgent, ToAggregator};
use security::proof::{self, Claim};
use security::{Denied, Grant, Tokens};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::ended::Ended;
use super::wire::Wire;
use crate::access::{Access, Listener, now_ms};

/// When somebody who was not let in may try again.
const RETRY: Duration = Duration::from_secs(5);

/// What lets an agent stay on its connection.
#[derive(Debug)]
pub(super) struct Pass(Option<Shown>);

#[derive(Debug)]
struct Shown {
    access: Arc<Access>,
    changes: watch::Receiver<Arc<Tokens>>,
    grant: Grant,
    agent: String,
    peer: SocketAddr,
}

impl Pass {
    /// Completes when the token that was proved is no longer one, or not for this agent.
    pub(super) async fn revoked(&mut self) -> Ended {
        let Some(Shown { access, changes, grant, agent, peer }) = &mut self.0 else {
            return std::future::pending().await;
        };
        let denied = access.revoked(changes, grant, agent).await;
        access.denied(Listener::Link, *peer, denied);
        refused(format!("the token {:?} that let this agent in is no longer good: {denied}", grant.name()))
    }
}

/// Asks for a proof of a token, if one is needed. All of it has the time of a `hello`.
pub(super) async fn admit<IO>(
    wire: &mut Wire<'_, IO>,
    peer: SocketAddr,
    hello: &Hello,
    access: &Arc<Access>,
    until: Instant,
) -> Result<Pass, Ended>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    if !access.wants_tokens() {
        return Ok(Pass(None));
    }
    // Before the tokens are looked at: what changes from then on is heard.
    let changes = access.changes();
    let random = proof::random().map_err(|why| Ended::refused(RefuseCode::Overloaded, why).retry_after(RETRY))?;
    let nonce = proof::nonce(random);
    wire.say(&ToAgent::Challenge(Challenge { nonce: nonce.clone() })).await?;
    let claim = Claim { nonce: &nonce, agent: &hello.agent, session: &hello.session };
    let proved = match timeout_at(until, read_proof(wire)).await {
        Ok(Ok(Some(hmac))) => access.tokens().proved(&claim, &hmac, now_ms()),
        // It went away, said something else, or nothing at all.
        Ok(Ok(None) | Err(Ended::Closed | Ended::Failed(_))) | Err(_) => Err(Denied::Missing),
        Ok(Err(ended)) => return Err(ended),
    };
    match proved {
        Ok(grant) => {
            tracing::debug!(%peer, agent = hello.agent, token = grant.name(), "a token was proved");
            let (access, agent) = (Arc::clone(access), hello.agent.clone());
            Ok(Pass(Some(Shown { access, changes, grant, agent, peer })))
        }
        Err(denied) => {
            access.denied(Listener::Link, peer, denied);
            Err(refused(reason(denied, &hello.agent)))
        }
    }
}

/// The proof; `None`: another frame came.
async fn read_proof<IO>(wire: &mut Wire<'_, IO>) -> Result<Option<String>, Ended>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    loop {
        match wire.next_frame()? {
            Some(ToAggregator::Proof(proof)) => return Ok(Some(proof.hmac)),
            Some(_) => return Ok(None),
            None => wire.fill().await?,
        }
    }
}

fn refused(reason: String) -> Ended {
    Ended::refused(RefuseCode::Auth, reason).retry_after(RETRY)
}

/// What the agent is told; its log shows it.
fn reason(denied: Denied, agent: &str) -> String {
    match denied {
        Denied::Missing => {
            "this aggregator wants a proof of a token: set FLEETGAUGE_TOKEN_FILE or FLEETGAUGE_TOKEN of the agent"
                .to_owned()
        }
        Denied::Agent => format!("the token of this agent is not for agents called {agent:?}"),
        Denied::Wrong | Denied::Expired | Denied::Scope(_) => denied.to_string(),
    }
}
