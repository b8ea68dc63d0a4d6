//! The fleet against a naive model of it: random agents come, push, fail, leave and expire, with
//! time passed in; after each step both must show the same.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::frame::{Declare, Family, MetricType, Series};

use super::agent::{Measured, PushedSet};
use super::declared::{Builder, Declared};
use super::*;

const INTERVAL: Duration = Duration::from_secs(1);
const TOMBSTONE: Duration = Duration::from_secs(60);

impl Agent {
    /// Could a scrape see it then?
    pub(crate) fn could_be_seen(&self, at_ms: i64) -> bool {
        self.lock().sights.covers(at_ms)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Enter {
        agent: usize,
    },
    /// For each set: not mentioned, failed, or a value.
    Push {
        agent: usize,
        sets: [Option<Option<f64>>; 2],
    },
    Retire {
        agent: usize,
        set: usize,
    },
    Leave {
        agent: usize,
        bye: bool,
    },
    Wait {
        ms: u64,
    },
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    let agent = 0..3_usize;
    let set = proptest::option::of(proptest::option::of(0.0..9.0_f64));
    prop_oneof![
        2 => agent.clone().prop_map(|agent| Step::Enter { agent }),
        6 => (agent.clone(), set.clone(), set).prop_map(|(agent, a, b)| Step::Push { agent, sets: [a, b] }),
        1 => (agent.clone(), 0..2_usize).prop_map(|(agent, set)| Step::Retire { agent, set }),
        2 => (agent, any::<bool>()).prop_map(|(agent, bye)| Step::Leave { agent, bye }),
        3 => (0..1500_u64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Wait { ms: 61_000 }),
        2 => Just(Step::Expire),
    ]
}

/// What the model knows of an agent.
#[derive(Debug, Default)]
struct Model {
    seat: Option<Seat>,
    /// Values of the sets that are shown, and whether this connection put them there.
    shown: BTreeMap<usize, (f64, bool)>,
    has_pushed: bool,
    /// When its connection's grace is over, until when what it showed is fresh, and when its
    /// tombstone goes.
    until: Option<Duration>,
    fresh_until: Option<Duration>,
    forget_at: Option<Duration>,
}

struct World {
    fleet: Arc<Fleet>,
    start: Instant,
    elapsed: Duration,
    agents: [Model; 3],
    received: u64,
    visible: u64,
    /// When a look at the page showed which agent.
    seen: Vec<(usize, i64)>,
}

/// Set 0 has the family `a`, set 1 the families `a` (with a label) and `b`.
fn declared(seat: &Seat, set: usize) -> Arc<Declared> {
    let family = |name: &str, labels: &[(&str, &str)]| Family {
        name: name.into(),
        kind: MetricType::Gauge,
        help: String::new(),
        unit: String::new(),
        series: vec![Series { suffix: String::new(), labels: Labels::of(labels) }],
    };
    let families = if set == 0 { vec![family("a", &[])] } else { vec![family("a", &[("l", "1")]), family("b", &[])] };
    let mut builder = Builder::new(&format!("set{set}"), seat.identity().clone());
    builder.add(&Declare { set: 1, name: String::new(), job: None, offset: 0, total: 0, families }).unwrap();
    Arc::new(builder.finish().unwrap())
}

impl World {
    fn new() -> Self {
        let rules = Rules {
            job: "node".into(),
            tombstone: TOMBSTONE,
            agents_max: 10,
            series_max: 100,
            series_per_agent_max: 10,
        };
        Self {
            fleet: Arc::new(Fleet::new(rules)),
            start: Instant::now(),
            elapsed: Duration::ZERO,
            agents: Default::default(),
            received: 0,
            visible: 0,
            seen: Vec::new(),
        }
    }

    fn now(&self) -> Moment {
        Moment { instant: self.start + self.elapsed, wall_ms: self.wall_ms() }
    }

    fn wall_ms(&self) -> i64 {
        i64::try_from(self.elapsed.as_millis()).unwrap()
    }

    /// What a look at the page showed, nobody may be told afterwards that it was not seen.
    fn check_sights(&mut self) -> Result<(), TestCaseError> {
        let now = self.now();
        for agent in 0..self.agents.len() {
            if self.fleet.view_one(&format!("h{agent}"), now).is_some_and(|view| !view.shown.is_empty()) {
                self.seen.push((agent, now.wall_ms));
            }
        }
        for (agent, at_ms) in &self.seen {
            let sights = match self.fleet.agent(&format!("h{agent}")) {
                Some(agent) => agent.lock().sights.clone(),
                None => self.fleet.unheard.lock().unwrap().clone(),
            };
            prop_assert!(sights.covers(*at_ms), "h{} was seen at {} ms: {:?}", agent, at_ms, sights);
        }
        Ok(())
    }

    fn take(&mut self, step: Step) {
        let (now, elapsed) = (self.now(), self.elapsed);
        match step {
            Step::Enter { agent } => self.enter(agent),
            Step::Push { agent, sets } => {
                let model = &mut self.agents[agent];
                let Some(seat) = &model.seat else { return };
                let mut push = Vec::new();
                model.shown.retain(|_, (_, mine)| *mine);
                if model.fresh_until.is_none_or(|until| elapsed >= until) {
                    model.shown.clear();
                }
                for (set, said) in sets.into_iter().enumerate() {
                    let Some(said) = said else { continue };
                    let declared = declared(seat, set);
                    self.received += said.map_or(0, |_| declared.len() as u64);
                    push.push(PushedSet {
                        reason: Box::default(),
                        set: set as u64,
                        values: said.map(|value| vec![value; declared.len()]),
                        declared,
                    });
                    match said {
                        Some(value) => model.shown.insert(set, (value, true)),
                        None => model.shown.remove(&set),
                    };
                }
                self.visible +=
                    seat.show(Measured { at_ms: now.wall_ms, offset_ms: 0 }, push, now).expect("its seat").visible;
                model.has_pushed = true;
                model.fresh_until = Some(elapsed + limits::silence_after(INTERVAL));
            }
            Step::Retire { agent, set } => {
                let model = &mut self.agents[agent];
                if let Some(seat) = &model.seat {
                    seat.retire(set as u64);
                    model.shown.retain(|shown, (_, mine)| *shown != set || !*mine);
                }
            }
            Step::Leave { agent, bye } => {
                let model = &mut self.agents[agent];
                let Some(seat) = model.seat.take() else { return };
                seat.leave(bye, now);
                model.until = Some(if bye { elapsed } else { elapsed + INTERVAL });
                if bye {
                    model.shown.clear();
                    model.fresh_until = None;
                }
                // A tombstone's time counts from when the series go; without a bye, the tick notices.
                model.forget_at = bye.then_some(elapsed + TOMBSTONE);
            }
            Step::Wait { ms } => self.elapsed += Duration::from_millis(ms),
            Step::Expire => {
                self.fleet.expire(now);
                self.agents.iter_mut().for_each(|model| model.settle(elapsed));
            }
        }
    }

    fn enter(&mut self, agent: usize) {
        let now = self.now();
        let newcomer = Newcomer {
            name: AgentName::parse(&format!("h{agent}")).unwrap(),
            process: Process { session: "s".into(), incarnation: 1 },
            peer: "192.0.2.1:1".parse().unwrap(),
            interval: INTERVAL,
            ephemeral: false,
            shown_elsewhere: Duration::ZERO,
            is_exact: false,
            labels: Labels::default(),
            info: Labels::default(),
            connection: crate::link::Incumbent::of_nobody(),
        };
        let seat = match self.fleet.enter(&newcomer, now, None) {
            Entry::In(seat, _) => seat,
            // Too many take-overs: the incumbent is asked, and does not answer.
            Entry::Probe { id, .. } => match self.fleet.enter(&newcomer, now, Some(id)) {
                Entry::In(seat, _) => seat,
                other => panic!("nobody else wants the name: {other:?}"),
            },
            Entry::Refused(..) => panic!("the same session"),
        };
        let model = &mut self.agents[agent];
        // What was over, or soon will be, is not kept any longer by a bare hello.
        if let Some(until) = model.until {
            model.fresh_until = model.fresh_until.map(|fresh| fresh.min(until));
        }
        model.seat = Some(seat);
        (model.until, model.forget_at) = (None, None);
        model.shown.values_mut().for_each(|(_, mine)| *mine = false);
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for (agent, model) in self.agents.iter().enumerate() {
            let is_over = model.until.is_some_and(|until| self.elapsed >= until)
                || model.fresh_until.is_none_or(|until| self.elapsed >= until);
            let view = self.fleet.view_one(&format!("h{agent}"), self.now());
            let mut expected: Vec<String> = Vec::new();
            if !is_over && model.has_pushed {
                for (set, (value, _)) in &model.shown {
                    let label = if *set == 0 { "" } else { ",l=\"1\"" };
                    expected.push(format!("a{{instance=\"h{agent}\",job=\"node\"{label}}} {value}"));
                    if *set == 1 {
                        expected.push(format!("b{{instance=\"h{agent}\",job=\"node\"}} {value}"));
                    }
                }
            }
            let mut found = Vec::new();
            for shown in view.iter().flat_map(|view| &view.shown) {
                for series in 0..shown.declared.len() {
                    let prefix = String::from_utf8_lossy(shown.declared.prefix(series));
                    found.push(format!("{prefix}{}", shown.values[series]));
                }
            }
            prop_assert_eq!(&found, &expected, "h{}", agent);
            if let Some(view) = &view {
                prop_assert_eq!(view.is_up, (model.seat.is_some() || model.until.is_some()) && !is_over);
            }
            prop_assert!(view.is_some() || !model.has_pushed, "a name that was heard has a tombstone");
        }
        prop_assert_eq!(self.received, self.visible, "received = visible: nothing here is late or clashes");
        Ok(())
    }
}

impl Model {
    /// What a look at the clock does.
    fn settle(&mut self, elapsed: Duration) {
        let is_over = |until: &Option<Duration>| until.is_none_or(|until| elapsed >= until);
        let has_left = self.seat.is_none() && self.until.is_some();
        if has_left && (is_over(&self.until) || is_over(&self.fresh_until)) {
            self.until = Some(Duration::ZERO);
            self.shown.clear();
            let forget_at = *self.forget_at.get_or_insert(elapsed + TOMBSTONE);
            if elapsed >= forget_at {
                *self = Self::default();
            }
        }
    }
}

proptest! {
    #[test]
    fn the_fleet_shows_what_a_naive_model_shows(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check()?;
            world.check_sights()?;
        }
        // Everybody leaves: nothing may be left behind, no claim, no name, no room.
        for agent in 0..3 {
            world.take(Step::Leave { agent, bye: true });
        }
        // First the last grace passes, then the last tombstone.
        for _ in 0..2 {
            world.take(Step::Wait { ms: 61_000 });
            world.take(Step::Expire);
        }
        prop_assert!(world.fleet.families().is_empty());
        prop_assert!(world.fleet.names().is_empty());
        prop_assert_eq!(world.fleet.room().used(), 0);
    }
}

/// A fleet with one agent, which showed something at second 100 and left the page at 110.
fn one_that_left() -> (Arc<Fleet>, Seat, Moment) {
    let mut world = World::new();
    world.elapsed = Duration::from_secs(100);
    world.enter(0);
    world.take(Step::Push { agent: 0, sets: [Some(Some(1.0)), None] });
    world.elapsed = Duration::from_secs(110);
    (Arc::clone(&world.fleet), world.agents[0].seat.take().unwrap(), world.now())
}

fn seen(fleet: &Fleet, name: &str, second: i64) -> bool {
    let sights = fleet.agent(name).map(|agent| agent.lock().sights.clone());
    sights.unwrap_or_else(|| fleet.unheard.lock().unwrap().clone()).covers(second * 1000)
}

#[test]
fn a_silent_agent_was_seen_until_it_had_to_leave_however_late_somebody_looks() {
    let (fleet, seat, now) = one_that_left();
    assert_eq!(seat.take_late(105_000, 1, now), Some(false), "three seconds of silence, and one of margin");
    let seconds = [98, 99, 103, 104, 105, 110].map(|second| seen(&fleet, "h0", second));
    assert_eq!(seconds, [false, true, true, true, false, false]);
}

#[test]
fn what_was_seen_is_known_after_a_restart() {
    let (fleet, _seat, now) = one_that_left();
    let known = fleet.known(now);
    let later = Moment { instant: now.instant + Duration::from_secs(600), wall_ms: now.wall_ms + 600_000 };
    let start = |former| {
        let fleet = Fleet::new(fleet.rules().clone());
        fleet.recall(known.clone(), former, later);
        [102, 107, 109, 112, 115, 700].map(|second| (seen(&fleet, "h0", second), seen(&fleet, "new", second)))
    };
    // It was killed at 112 at the latest; the list was written last at 109.
    let former = crate::alive::Former { ended_ms: 112_000, listed_ms: 109_000 };
    let (yes, no) = ((true, true), (false, false));
    assert_eq!(start(Some(former)), [(true, false), no, yes, yes, no, no]);
    assert_eq!(start(None), [yes, yes, yes, yes, yes, yes], "what is not known counts as seen");
}
