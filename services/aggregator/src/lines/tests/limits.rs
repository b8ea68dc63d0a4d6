//! Segments, floods, silence, ends.

use super::*;

const WRONG: &str = "error\nwrong command\n\n";
/// What one connection may wait for another.
const ROOM: usize = 1 << 20;

/// A conversation with every kind of line, and what it is answered with.
const SAID: &str = "put k 1 2\r\nget k\n\nfoo\nput ключ 1.5 -1\nget *\nget none\nput k x 1\n";
const HEARD: &str =
    "ok\n\nok\nk 1.0 2\n\nerror\nwrong command\n\nok\n\nok\nk 1.0 2\nключ 1.5 -1\n\nok\n\nerror\nwrong command\n\n";

#[tokio::test]
async fn commands_may_be_cut_at_any_byte() {
    let inside = Inside::new();
    for at in 0..=SAID.len() {
        let mut client = inside.connect();
        client.say(&SAID.as_bytes()[..at]).await;
        let whole = SAID.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
        // The replies to what is whole come before the rest is sent; the empty line has none.
        let replies: Vec<&str> = HEARD.split_inclusive("\n\n").collect();
        let so_far = replies[..if whole > 2 { whole - 1 } else { whole }].concat();
        client.hear(&so_far).await;
        client.say(&SAID.as_bytes()[at..]).await;
        client.hear(&HEARD[so_far.len()..]).await;
        assert_eq!(client.end().await, "", "nothing more when cut at {at}");
    }
}

#[tokio::test]
async fn a_line_may_come_byte_by_byte() {
    let inside = Inside::new();
    let mut client = inside.connect_through(1);
    let mut heard = 0;
    for line in SAID.as_bytes().split_inclusive(|byte| *byte == b'\n') {
        for byte in line {
            client.say([*byte]).await;
        }
        if line == b"\n" {
            continue;
        }
        let reply = HEARD[heard..].split_inclusive("\n\n").next().unwrap();
        client.hear(reply).await;
        heard += reply.len();
    }
    assert_eq!(heard, HEARD.len());
}

#[tokio::test]
async fn many_lines_at_once_are_answered_in_order() {
    let inside = Inside::new();
    let (puts, rows) = many_points(10_000);
    let (mut read, mut write) = tokio::io::split(inside.connect().stream);
    let writing = tokio::spawn(async move {
        write.write_all(format!("{puts}get many.points\nfoo\n").as_bytes()).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut heard = String::new();
    read.read_to_string(&mut heard).await.unwrap();
    writing.await.unwrap();
    let expected = format!("{}{rows}{WRONG}", "ok\n\n".repeat(10_000));
    assert!(heard == expected, "{} bytes instead of {}", heard.len(), expected.len());
}

#[tokio::test]
async fn an_unfinished_line_gets_nothing_and_the_lines_before_it_all() {
    let inside = Inside::new();
    let mut client = inside.connect();
    client.say("put k 1 1\nput k 2 2\nget k\nput k 3 3").await;
    assert_eq!(client.end().await, "ok\n\nok\n\nok\nk 1.0 1\nk 2.0 2\n\n");
    let mut client = inside.connect();
    client.say("x".repeat(100_000)).await;
    assert_eq!(client.end().await, "", "of a long one neither");
    inside.connect().ask("get k\n", "ok\nk 1.0 1\nk 2.0 2\n\n").await;
}

#[tokio::test]
async fn what_a_client_put_that_does_not_listen_is_stored() {
    let inside = Inside::new();
    let (puts, rows) = many_points(10_000);
    let mut deaf = inside.connect_through(1 << 20);
    deaf.say(&puts).await;
    // Both directions at once: the first reply finds nobody.
    drop(deaf.stream);
    deaf.task.await.unwrap();
    inside.connect().ask("get many.points\n", rows).await;
    assert_eq!(inside.metric("closed_total{reason=\"failed\"}"), 1.0, "it is counted as one that broke");
}

#[tokio::test]
async fn an_answer_longer_than_a_piece_is_whole() {
    let inside = Inside::new();
    let (puts, rows) = many_points(30_000);
    let mut writer = inside.connect_through(1 << 20);
    writer.say(&puts).await;
    assert_eq!(writer.end().await.len(), 30_000 * "ok\n\n".len());
    // The reader takes a little at a time.
    let mut reader = inside.connect_through(100);
    reader.say("get *\nfoo\n").await;
    let heard = reader.end().await;
    assert!(heard == format!("{rows}{WRONG}"), "{} bytes instead of {}", heard.len(), rows.len());
}

/// Gives what each write brought.
async fn writes(inside: &Inside, said: &str) -> Vec<usize> {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    let (sizes, mut heard) = tokio::sync::mpsc::channel(1000);
    let far = Counted { stream: far, sizes };
    let peer = "192.0.2.1:4000".parse().unwrap();
    let task = tokio::spawn(serve(far, peer, Arc::clone(&inside.lines), inside.stop.clone()));
    near.write_all(said.as_bytes()).await.unwrap();
    near.shutdown().await.unwrap();
    let mut all = Vec::new();
    near.read_to_end(&mut all).await.unwrap();
    task.await.unwrap();
    let mut sizes = Vec::new();
    while let Some(size) = heard.recv().await {
        sizes.push(size);
    }
    assert_eq!(sizes.iter().sum::<usize>(), all.len());
    sizes
}

/// A stream that tells how much was written at once.
struct Counted {
    stream: DuplexStream,
    sizes: tokio::sync::mpsc::Sender<usize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        let written = std::pin::Pin::new(&mut self.stream).poll_write(context, bytes);
        if let std::task::Poll::Ready(Ok(count)) = &written {
            self.sizes.try_send(*count).unwrap();
        }
        written
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[tokio::test]
async fn a_reply_is_written_in_one_piece_and_several_may_be() {
    let inside = Inside::new();
    assert_eq!(writes(&inside, "put k 1 1\n").await, [4]);
    assert_eq!(writes(&inside, "put k 1 1\nget k\nfoo\n").await, [4 + 12 + WRONG.len()]);
    let (puts, rows) = many_points(2_000);
    writes(&inside, &puts).await;
    assert!((40_000..60_000).contains(&rows.len()));
    assert_eq!(writes(&inside, "get many.points\n").await, [rows.len()]);
    // Two of them are too much for one write, and neither is split.
    assert_eq!(writes(&inside, "get many.points\nget many.points\n").await, [rows.len(), rows.len()]);
    writes(&inside, &many_points(9_000).0).await;
    let pieces = writes(&inside, "foo\nget many.points\n").await;
    assert!(pieces.len() > 2 && pieces.iter().all(|size| *size <= 65_536 + 64), "{pieces:?}");
    assert_eq!(pieces[0], WRONG.len(), "what stands before a long answer is not split either");
}

#[tokio::test]
async fn half_lines_share_one_room_and_hold_up_nobody() {
    let inside = Inside::with(ROOM, Some(rules()));
    let half = format!("put k{} 1 ", "k".repeat(5_000));
    let mut halves = Vec::new();
    for _ in 0..1_000 {
        let mut client = inside.connect_through(8 * 1024);
        client.say(&half).await;
        halves.push(client);
    }
    // A whole conversation goes on meanwhile, and so does a longer line than is free for everyone.
    let mut other = inside.connect();
    other.ask("put a 1 1\nget a\n", "ok\n\nok\na 1.0 1\n\n").await;
    let used = inside.lines.shared.buffers.used();
    assert!(used <= ROOM / 2, "{used} bytes: agents have the other half");
    // Each of them is answered once, stored or not, and is in step then.
    let (mut stored, mut refused) = (0, 0);
    for mut client in halves {
        client.say("1\nfoo\n").await;
        let heard = client.end().await;
        if heard == format!("ok\n\n{WRONG}") {
            stored += 1;
        } else {
            let reason = heard.strip_suffix(WRONG).unwrap();
            assert!(reason.starts_with("error\nno room for so long a line now"), "{heard:?}");
            refused += 1;
        }
    }
    assert!(stored > 100 && refused > 500, "{stored} stored, {refused} refused");
    assert_eq!(inside.metric("errors_total{reason=\"no_room\"}"), f64::from(refused));
    assert_eq!(inside.lines.shared.buffers.used(), 0, "all is given back");
}

#[tokio::test]
async fn what_the_history_does_not_take_is_said_line_by_line() {
    let inside = Inside::with(ROOM, Some(history::Rules { keys_max: 2, ..rules() }));
    let mut client = inside.connect();
    client.say("put a 1 1\nput b 1 1\nput c 1 1\nfoo\nput a 2 2\nget *\n").await;
    let heard = client.end().await;
    let (before, rest) = heard.split_once("error\n").unwrap();
    let (text, after) = rest.split_once("\n\n").unwrap();
    assert_eq!((before, after), ("ok\n\nok\n\n", "error\nwrong command\n\nok\n\nok\na 1.0 1\na 2.0 2\nb 1.0 1\n\n"));
    assert!(text.contains("FLEETGAUGE_MAX_KEYS") && !text.contains('\n'), "{text:?}");
    assert_eq!(inside.metric("errors_total{reason=\"not_stored\"}"), 1.0);
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_the_connection_goes_on() {
    let inside = Inside::with(ROOM, Some(history::Rules { reserve_bytes: u64::MAX, ..rules() }));
    let mut client = inside.connect();
    client.say("put a 1 1\nput b 1 1\nget a\nfoo\n").await;
    let heard = client.end().await;
    let replies: Vec<&str> = heard.split_inclusive("\n\n").collect();
    assert_eq!(replies[2..], ["ok\n\n", WRONG]);
    assert!(replies[..2].iter().all(|reply| reply.starts_with("error\nthe disk is full")), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_connection_after_ten_minutes_also_in_a_line() {
    let inside = Inside::without_history();
    let began = tokio::time::Instant::now();
    let silent = inside.connect();
    let mut half = inside.connect();
    half.say("put k 1").await;
    let mut talks = inside.connect();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(590)).await;
        talks.ask("foo\n", WRONG).await;
    }
    assert!(silent.task.is_finished() && half.task.is_finished() && !talks.task.is_finished());
    assert_eq!(inside.metric("closed_total{reason=\"idle\"}"), 2.0);
    assert_eq!(talks.end().await, "");
    assert!(began.elapsed() < Duration::from_secs(20 * 590 + 601));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_given_up_and_a_slow_one_is_not() {
    let inside = Inside::without_history();
    let mut slow = inside.connect_through(1024);
    let mut never = inside.connect_through(1024);
    for client in [&mut slow, &mut never] {
        client.say("foo\n".repeat(200)).await;
    }
    let mut heard = 0;
    while heard < 200 * WRONG.len() {
        tokio::time::sleep(Duration::from_secs(29)).await;
        heard += slow.stream.read(&mut [0; 1024]).await.unwrap();
    }
    assert_eq!(slow.end().await, "");
    never.task.await.unwrap();
    assert_eq!(inside.metric("closed_total{reason=\"unread\"}"), 1.0);
}

#[tokio::test]
async fn a_long_answer_that_nobody_reads_is_given_up() {
    let inside = Inside::new();
    let (puts, _) = many_points(10_000);
    let mut writer = inside.connect_through(1 << 20);
    writer.say(&puts).await;
    writer.end().await;
    let mut never = inside.connect_through(1024);
    never.say("get *\n").await;
    // Once a piece of it is there, nothing waits but for the client.
    let mut first = [0; 1];
    never.stream.read_exact(&mut first).await.unwrap();
    assert_eq!(inside.lines.long_answers.taken(LONG_ANSWERS_MAX), 1);
    tokio::time::pause();
    never.task.await.unwrap();
    assert_eq!(inside.metric("closed_total{reason=\"unread\"}"), 1.0);
    assert_eq!(inside.lines.long_answers.taken(LONG_ANSWERS_MAX), 0);
}

/// Takes the turns of all long answers.
fn take_all(inside: &Inside) -> Vec<turns::Turn> {
    let address = |n: usize| std::net::IpAddr::from([198, 51, 100, u8::try_from(n % 16).unwrap()]);
    (0..LONG_ANSWERS_MAX).map(|n| inside.lines.long_answers.try_take(address(n)).unwrap()).collect()
}

#[tokio::test]
async fn long_answers_wait_for_their_turn_and_short_ones_do_not() {
    let inside = Inside::new();
    let (puts, rows) = many_points(10_000);
    let mut client = inside.connect_through(1 << 20);
    client.ask(&puts, "ok\n\n".repeat(10_000)).await;
    let others = take_all(&inside);
    client.say("foo\nget *\n").await;
    client.hear(WRONG).await;
    let mut short = inside.connect();
    short.ask("get none\n", "ok\n\n").await;
    drop(others);
    client.hear(&rows).await;
    // When its turn does not come, it is told so.
    let _others = take_all(&inside);
    client.say("foo\nget *\n").await;
    client.hear(WRONG).await;
    tokio::time::pause();
    client.ask("foo\n", format!("error\ntoo many long answers are under way, ask again later\n\n{WRONG}")).await;
    assert_eq!(inside.metric("errors_total{reason=\"busy\"}"), 1.0);
}

#[tokio::test]
async fn on_stop_what_is_begun_is_answered_and_connections_end() {
    let inside = Inside::new();
    let idle = inside.connect();
    let mut half = inside.connect();
    half.say("put k 1").await;
    let mut client = inside.connect();
    client.ask("put k 1 1\n", "ok\n\n").await;
    inside.stopper.stop();
    for client in [idle, half, client] {
        assert_eq!(client.rest().await, "");
    }
    assert_eq!(inside.metric("closed_total{reason=\"stopping\"}"), 3.0);
}

#[tokio::test]
async fn what_a_browser_sends_is_not_stored() {
    let inside = Inside::new();
    let body = "Host: x\r\nContent-Length: 10\r\n\r\nput k 1 1\n";
    let not_http = "error\nthis is not HTTP\n\n";
    let mut browser = inside.connect();
    browser.say(format!("POST / HTTP/1.1\r\n{body}")).await;
    assert_eq!(browser.rest().await, not_http);
    let mut browser = inside.connect();
    browser.say(format!("POST /{} HTTP/1.1\r\n{body}", "x".repeat(70_000))).await;
    let heard = browser.rest().await;
    assert!(heard.starts_with("error\nthe line is too long") && heard.ends_with(not_http), "{heard}");
    assert!((inside.metric("closed_total{reason=\"http\"}") - 2.0).abs() < 0.5);
    let mut client = inside.connect();
    client.ask("get k\n", "ok\n\n").await;
    // Later it is a wrong command, as any other.
    client.ask("GET / HTTP/1.1\nput k 1 1\n", format!("{WRONG}ok\n\n")).await;
}
