//! Nothing is dropped silently: whatever an aggregator and a network do, the account is even.

use proptest::prelude::*;
use protocol::frame::{Ack, Stream};
use protocol::{ToAgent, ToAggregator};
use tokio::time::timeout;

use super::stage::{Peer, Stage, welcome_with};
use super::*;

#[derive(Debug, Clone)]
enum Act {
    Measure,
    Accept,
    Welcome,
    Ack,
    AckLess,
    Hear,
    Close,
    Sleep(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => Just(Act::Measure),
        2 => Just(Act::Accept),
        2 => Just(Act::Welcome),
        3 => Just(Act::Ack),
        1 => Just(Act::AckLess),
        3 => Just(Act::Hear),
        1 => Just(Act::Close),
        3 => (1..4000u64).prop_map(Act::Sleep),
    ];
    proptest::collection::vec(act, 0..60)
}

/// Plays one act, if it can be played now; what the aggregator waits for may not come.
async fn act(stage: &mut Stage, peer: &mut Option<Peer>, welcomed: &mut bool, act: Act) {
    let soon = Duration::from_millis(300);
    match (act, peer) {
        (Act::Measure, _) => {
            stage.measure(&[1.0, 2.0]);
        }
        (Act::Accept, peer) => {
            if let Ok(accepted) = timeout(soon, stage.accept()).await {
                (*peer, *welcomed) = (Some(accepted), false);
            }
        }
        (Act::Welcome, Some(peer)) if !*welcomed => {
            let acked = stage.sent.saturating_sub(1);
            *welcomed = peer.may_say(&welcome_with(1000, acked)).await;
        }
        (Act::Ack, Some(peer)) if *welcomed => {
            peer.may_say(&ToAgent::Ack(Ack { stream: Stream::Live, seq: stage.sent })).await;
        }
        (Act::AckLess, Some(peer)) if *welcomed => {
            let seq = stage.sent.saturating_sub(1);
            peer.may_say(&ToAgent::Ack(Ack { stream: Stream::Live, seq })).await;
        }
        (Act::Hear, Some(peer)) => {
            if let Ok(Some(ToAggregator::End(end))) = timeout(soon, peer.next()).await {
                stage.sent = stage.sent.max(end.seq);
            }
        }
        (Act::Close, peer) => *peer = None,
        (Act::Sleep(ms), _) => tokio::time::sleep(Duration::from_millis(ms)).await,
        _ => {}
    }
}

proptest! {
    /// Whatever happens to the connection, each measurement is either acknowledged or in the spool
    /// for a reason, and never both; and what was in the spool is acknowledged, safe, or lost.
    #[test]
    fn every_measurement_is_accounted_for_once(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (mut stage, mut uplink) = Stage::new(&["up"], "1s");
            let (mut peer, mut welcomed) = (None, false);
            for one in acts {
                tokio::select! {
                    () = uplink.run() => unreachable!(),
                    () = act(&mut stage, &mut peer, &mut welcomed, one) => {}
                }
            }
            drop(peer);
            uplink.farewell().await;
            let acked = stage.own("fleetgauge_push_total{result=\"acked\"}");
            let spooled = stage.own("fleetgauge_push_total{result=\"spooled\"}");
            let reasons: f64 = ["not_sent", "not_acked", "stale", "stopped"]
                .map(|reason| stage.own(&format!("fleetgauge_push_spooled_total{{reason=\"{reason}\"}}")))
                .iter()
                .sum();
            #[expect(clippy::cast_precision_loss, reason = "a few dozen measurements")]
            let measured = stage.seq as f64;
            prop_assert_eq!((acked + spooled, reasons), (measured, spooled));
            let late = |result| stage.own(&format!("fleetgauge_push_late_total{{result=\"{result}\"}}"));
            // Each measurement has two samples.
            let lost = stage.own("fleetgauge_spool_lost_samples_total{reason=\"stopped\"}") / 2.0;
            prop_assert_eq!(late("acked") + late("safe") + lost, spooled);
            prop_assert_eq!(stage.own("fleetgauge_spool_records"), 0.0);
            Ok(())
        })?;
    }
}
