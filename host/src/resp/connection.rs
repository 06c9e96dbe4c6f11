//! One connection: reads, answers in order, and ends in time.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::Service;
use super::command::answer;
use super::frame::{Broken, next};
use super::reply::Reply;
use super::session::Session;

/// How long a client may be silent.
const IDLE: Duration = Duration::from_secs(300);
/// How long a client may take to show the password, if there is one.
const STRANGER: Duration = Duration::from_secs(10);
/// How long the rest of a command may take to arrive.
const PARTIAL: Duration = Duration::from_secs(10);
/// How long answers may take to leave.
const LEAVING: Duration = Duration::from_secs(10);
/// How much is read at a time, in bytes, and how much is answered before it is sent.
const AT_ONCE: usize = 4 * 1024;

/// Answers what arrives until the client goes, is silent for too long or breaks the protocol, or until `stopping`.
///
/// Commands are decided one after another, as Redis does, and while they are, nothing is read: what a client sends ahead waits where it is.
///
/// # Errors
///
/// Fails if the connection does.
pub(crate) async fn converse(
    service: &Service,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut session = Session::new(service);
    let (mut buffer, mut replies) = (BytesMut::new(), BytesMut::new());
    let mut waits_from = Instant::now();
    loop {
        let was_answered = answer_all(service, &mut session, &mut buffer, &mut replies, &mut stream).await?;
        if session.is_over {
            return Ok(());
        }
        // Whoever is not let in has one wait for all that is said until then.
        if was_answered && session.is_let_in {
            waits_from = Instant::now();
        }
        let patience = match (session.is_let_in, buffer.is_empty()) {
            (false, _) => STRANGER,
            (true, false) => PARTIAL,
            (true, true) => IDLE,
        };
        buffer.reserve(AT_ONCE);
        let was_empty = buffer.is_empty();
        let read = tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
            read = timeout_at(waits_from + patience, stream.read_buf(&mut buffer)) => read,
        };
        match read {
            Ok(Ok(0)) => return Ok(()),
            Ok(read) => read?,
            Err(_) => return Ok(()),
        };
        if was_empty && session.is_let_in {
            waits_from = Instant::now();
        }
    }
}

/// Answers every command that is whole, and tells whether there was one.
async fn answer_all(
    service: &Service,
    session: &mut Session,
    buffer: &mut BytesMut,
    replies: &mut BytesMut,
    stream: &mut (impl AsyncWrite + Unpin),
) -> io::Result<bool> {
    let mut was_answered = false;
    while !session.is_over {
        match next(buffer) {
            Ok(None) => break,
            Ok(Some(words)) => {
                let reply = answer(service, session, &words).await;
                reply.write(session.protocol, replies);
            }
            Err(Broken(why)) => {
                session.is_over = true;
                Reply::error(&format!("ERR Protocol error: {why}")).write(session.protocol, replies);
            }
        }
        was_answered = true;
        if replies.len() >= AT_ONCE {
            send(stream, replies).await?;
        }
    }
    send(stream, replies).await?;
    Ok(was_answered)
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), replies: &mut BytesMut) -> io::Result<()> {
    timeout(LEAVING, stream.write_all(replies)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    replies.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio::time::sleep;

    use super::*;
    use crate::config::{RespConfig, Secret};
    use crate::{TierPlan, Tollgate};

    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

    /// A conversation that is under way; from now on, time passes as fast as nothing happens.
    async fn begin(password: Option<&str>) -> (DuplexStream, tokio::task::JoinHandle<io::Result<()>>) {
        let gate = Tollgate::builder().tier("throttle", TierPlan::built_in("throttle", "{}")).build().await.unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let service = Service::new(gate, &RespConfig { listen, password: password.map(Secret::new) });
        let (client, server) = duplex(64 * 1024);
        tokio::time::pause();
        let (_stop, stopping) = watch::channel(false);
        let talk = tokio::spawn(async move {
            let _stop = _stop;
            converse(&service, server, stopping).await
        });
        (client, talk)
    }

    async fn said(client: &mut DuplexStream) -> Vec<u8> {
        let mut reply = vec![0; 256];
        let length = client.read(&mut reply).await.unwrap();
        reply.truncate(length);
        reply
    }

    #[tokio::test]
    async fn who_is_silent_for_five_minutes_is_left() {
        let (mut client, talk) = begin(None).await;
        for _ in 0..3 {
            sleep(Duration::from_secs(299)).await;
            client.write_all(PING).await.unwrap();
            assert_eq!(said(&mut client).await, b"+PONG\r\n");
        }
        let silent_from = Instant::now();
        talk.await.unwrap().unwrap();
        assert_eq!(silent_from.elapsed().as_secs(), 300);
    }

    #[tokio::test]
    async fn a_command_that_drips_in_is_not_waited_for() {
        let (mut client, talk) = begin(None).await;
        sleep(Duration::from_secs(60)).await;
        let dripping_from = Instant::now();
        for byte in PING {
            if client.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(3)).await;
        }
        talk.await.unwrap().unwrap();
        assert!(dripping_from.elapsed() < Duration::from_secs(14), "{:?}", dripping_from.elapsed());
        assert_eq!(said(&mut client).await, b"");
    }

    #[tokio::test]
    async fn a_stranger_has_ten_seconds_whatever_is_said() {
        let (mut client, talk) = begin(Some("open-sesame")).await;
        let from = Instant::now();
        while client.write_all(PING).await.is_ok() && !talk.is_finished() {
            sleep(Duration::from_secs(1)).await;
        }
        talk.await.unwrap().unwrap();
        assert!(from.elapsed() < Duration::from_secs(12), "{:?}", from.elapsed());
        assert!(said(&mut client).await.starts_with(b"-NOAUTH"));
    }

    #[tokio::test]
    async fn what_breaks_the_protocol_is_told_and_left() {
        let (mut client, talk) = begin(None).await;
        client.write_all(&[PING, b"GET / HTTP/1.1\r\n\r\n", PING].concat()).await.unwrap();
        talk.await.unwrap().unwrap();
        assert_eq!(said(&mut client).await, b"+PONG\r\n-ERR Protocol error: expected '*'\r\n");
    }
}
