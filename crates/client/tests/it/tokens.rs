//! A token is shown first on every connection, and what servers say to it.

use std::time::Duration;

use client::{Client, ClientError, Secret, Server};

use crate::scripted::{self, Script};

const WITHIN: Duration = Duration::from_secs(10);

fn with_token(address: &str) -> Server {
    Server::new(address).with_token(Secret::new("0123456789abcdef").unwrap())
}

#[tokio::test]
async fn it_is_the_first_line_of_each_connection() {
    let server = scripted::Server::start(vec![Script::SayAndClose(b"ok\n\n".to_vec()), Script::say("ok\n\n")]).await;
    let mut client = Client::connect(with_token(&server.address), WITHIN).await.unwrap();
    client.put("k", 1.0, Some(7)).await.unwrap();
    assert_eq!(server.reads(), ["auth 0123456789abcdef\n", "auth 0123456789abcdef\n", "put k 1 7\n"]);
}

#[tokio::test]
async fn a_server_that_knows_no_tokens_is_spoken_to_all_the_same() {
    let server = scripted::Server::start(vec![Script::say("error\nwrong command\n\n")]).await;
    Client::connect(with_token(&server.address), WITHIN).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_an_error_of_its_own_without_the_token() {
    for script in [Script::SayAndClose(b"error\nit has expired\n\n".to_vec()), Script::say("error\nit has expired\n\n")]
    {
        let server = scripted::Server::start(vec![script]).await;
        match Client::connect(with_token(&server.address), WITHIN).await {
            Err(error @ ClientError::Token(_)) => {
                let text = format!("{error} {error:?}");
                assert!(text.contains("it has expired") && !text.contains("0123"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(!format!("{:?}", with_token("x:1")).contains("0123"));
}
