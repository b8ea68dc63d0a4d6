//! What a connection has to do at a certain time even if nothing comes.

use std::time::Duration;

use protocol::encode;
use protocol::frame::{Ping, ToAggregator};
use protocol::limits::{HELLO_WITHIN, PING_FROM_INTERVAL, silence_after};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::super::Ended;
use super::Connection;
use crate::telemetry::Failure;

/// A connection that cannot be written to may still hold the reason why, to be read.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// Why a connection has to do something at a certain time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    Welcome,
    Ack,
    Pong,
    Ping,
    LastWords,
}

impl<S: AsyncRead + AsyncWrite> Connection<S> {
    /// When something has to happen even if nothing comes.
    pub(super) fn due(&self) -> (Instant, Due) {
        let silence = silence_after(self.interval);
        let welcome = self.link.is_none().then(|| (self.opened + HELLO_WITHIN, Due::Welcome));
        let ack = self.unacked.front().map(|(_, sent)| (*sent + silence, Due::Ack));
        let idle = (self.interval > PING_FROM_INTERVAL && self.link.is_some()).then_some(match self.pinged {
            Some((_, since)) => (since + silence_after(PING_FROM_INTERVAL), Due::Pong),
            None => (self.last_said + PING_FROM_INTERVAL, Due::Ping),
        });
        let broken = self.broken.as_ref().map(|(_, since)| (*since + LAST_WORDS_WITHIN, Due::LastWords));
        let all = [welcome, ack, idle, broken].into_iter().flatten();
        // Before the first push of a welcomed connection nothing is due; look again some time.
        all.min_by_key(|(when, _)| *when).unwrap_or((Instant::now() + silence, Due::Ping))
    }

    pub(super) fn time_is_up(&mut self, due: Due) -> Result<(), Ended> {
        let what = match due {
            Due::LastWords => return Err(self.closed("")),
            Due::Welcome => "the aggregator did not answer the hello",
            Due::Ack => "the aggregator did not acknowledge a push",
            Due::Pong => "the aggregator did not answer a ping",
            Due::Ping => {
                if self.interval > PING_FROM_INTERVAL {
                    self.pings += 1;
                    self.pinged = Some((self.pings, Instant::now()));
                    self.last_said = Instant::now();
                    encode(&ToAggregator::Ping(Ping { id: self.pings }), &mut self.out);
                }
                return Ok(());
            }
        };
        Err(Ended::new(Failure::Timeout, format!("{what} in time")))
    }
}
