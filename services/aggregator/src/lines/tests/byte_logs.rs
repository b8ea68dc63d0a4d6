//! Conversations that much software has had with servers of this protocol, byte for byte. They are
//! told as `connection> sent` and `connection< expected`, with `\n` spelled out.

use super::*;

/// Tells a conversation of up to two connections, and expects that nothing else is said.
#[track_caller]
fn replay<'a>(inside: &'a Inside, log: &'a str) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let mut clients = [inside.connect(), inside.connect()];
        for line in log.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
            let (head, bytes) = line.split_at(2);
            let client = &mut clients[head[..1].parse::<usize>().unwrap() - 1];
            let bytes = bytes.strip_prefix(' ').unwrap().replace("\\n", "\n");
            if head.ends_with('>') { client.say(bytes).await } else { client.hear(bytes).await }
        }
        for client in clients {
            assert_eq!(client.end().await, "", "nothing more, at {caller}");
        }
    }
}

/// Puts by two connections in turns, with one second of `k2` put twice; then everything is read.
const TURNS_2019: &str = r"
    1> put k1 0.25 1\n
    1< ok\n\n
    2> put k1 2.156 2\n
    2< ok\n\n
    1> put k1 0.35 3\n
    1< ok\n\n
    2> put k2 30 4\n
    2< ok\n\n
    1> put k2 40 5\n
    1< ok\n\n
    1> put k2 41 5\n
    1< ok\n\n
    1> get *\n
    1< ok\nk1 0.25 1\nk1 2.156 2\nk1 0.35 3\nk2 30.0 4\nk2 41.0 5\n\n
    2> get k2\n
    2< ok\nk2 30.0 4\nk2 41.0 5\n\n
    1> get k3\n
    1< ok\n\n
";

/// The error and the empty line come in one segment, and only one of them is answered.
const BEGIN_2019: &str = r"
    1> get wrong command test\n\n
    1< error\nwrong command\n\n
    1> get some_key\n
    1< ok\n\n
    1> get some_key\n
    1< ok\n\n
    1> get some_key\n
    1< ok\n\n
    2> get some_key\n
    2< ok\n\n
";

/// The points of `k1` come out of order; the aggregator sorts them.
const TURNS_2018: &str = r"
    1> malformed command test\n
    1< error\nwrong command\n\n
    1> put k1 0.25 1\n
    1< ok\n\n
    2> put k1 0.35 3\n
    2< ok\n\n
    1> put k1 2.156 2\n
    1< ok\n\n
    2> put k2 30 4\n
    2< ok\n\n
    1> put k2 40 5\n
    1< ok\n\n
    1> put k2 41 5\n
    1< ok\n\n
    1> get *\n
    1< ok\nk1 0.25 1\nk1 2.156 2\nk1 0.35 3\nk2 30.0 4\nk2 41.0 5\n\n
";

const BEGIN_2017: &str = r"
    1> malformed command test\n
    1< error\nwrong command\n\n
";

const BEGIN_BLOCK_6: &str = r"
    1> put malformed command test 0 1503319740\n
    1< error\nwrong command\n\n
";

/// The same value is put twice.
const TURNS_2017: &str = r"
    1> put k1 0.25 1\n
    1< ok\n\n
    2> put k1 2.156 2\n
    2< ok\n\n
    1> put k1 0.35 3\n
    1< ok\n\n
    2> put k2 30 4\n
    2< ok\n\n
    1> put k2 40 5\n
    1< ok\n\n
    1> put k2 40 5\n
    1< ok\n\n
    1> get *\n
    1< ok\nk1 0.25 1\nk1 2.156 2\nk1 0.35 3\nk2 30.0 4\nk2 40.0 5\n\n
    2> get k2\n
    2< ok\nk2 30.0 4\nk2 40.0 5\n\n
";

const BY_HAND: &str = r"
    1> get test_key\n
    1< ok\n\n
    1> got test_key\n
    1< error\nwrong command\n\n
    1> put test_key 12.0 1503319740\n
    1< ok\n\n
    1> put test_key 13.0 1503319739\n
    1< ok\n\n
    1> get test_key \n
    1< ok\ntest_key 13.0 1503319739\ntest_key 12.0 1503319740\n\n
    1> put another_key 10 1503319739\n
    1< ok\n\n
    1> get *\n
    1< ok\ntest_key 13.0 1503319739\ntest_key 12.0 1503319740\nanother_key 10.0 1503319739\n\n
";

#[tokio::test]
async fn of_2019() {
    replay(&Inside::new(), &[BEGIN_2019, TURNS_2019].concat()).await;
}

#[tokio::test]
async fn of_2018() {
    replay(&Inside::new(), TURNS_2018).await;
}

#[tokio::test]
async fn of_2017() {
    replay(&Inside::new(), &[BEGIN_2017, TURNS_2017].concat()).await;
}

#[tokio::test]
async fn of_block_6() {
    replay(&Inside::new(), &[BEGIN_BLOCK_6, TURNS_2017].concat()).await;
}

#[tokio::test]
async fn by_hand() {
    replay(&Inside::new(), BY_HAND).await;
}

#[tokio::test]
async fn all_of_them_one_after_another_on_one_history() {
    let inside = Inside::new();
    replay(&inside, &[BEGIN_2019, TURNS_2019].concat()).await;
    replay(&inside, TURNS_2018).await;
    replay(&inside, &[BEGIN_2017, TURNS_2017].concat()).await;
    replay(&inside, &[BEGIN_BLOCK_6, TURNS_2017].concat()).await;
}

/// The example in docs/protocol.md.
#[tokio::test]
async fn of_the_document() {
    let text = include_str!("../../../../../docs/protocol.md");
    let example = text.split("```lines\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let mut log = String::new();
    // A reply is heard as a whole: what follows it would be too much.
    let mut reply = String::new();
    for line in example.lines().chain(["> "]) {
        let (side, bytes) = line.split_at(1);
        let bytes = bytes.strip_prefix(' ').unwrap_or_default();
        if side == "<" {
            reply += &format!("{bytes}\\n");
            continue;
        }
        if !reply.is_empty() {
            log += &format!("1< {}\n", std::mem::take(&mut reply));
        }
        if !bytes.is_empty() {
            log += &format!("1> {bytes}\\n\n");
        }
    }
    assert!(log.lines().count() == 12, "{log}");
    replay(&Inside::new(), &log).await;
}
