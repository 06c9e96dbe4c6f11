//! A connection that ends well: who does not read is left in time, and who still sends hears the last answer.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a client may take nothing of an answer.
const STALL: Duration = Duration::from_secs(10);
/// How long the rest of what a client sends is taken, once it has had its last answer.
const LINGER: Duration = Duration::from_secs(2);
/// How much of that, in bytes.
const MOST_DISCARDED: usize = 16 * 1024 * 1024;
const AT_ONCE: usize = 4 * 1024;

/// A stream with patience.
///
/// Closing a socket in which something lies unread resets the connection, and then the other side may lose the answer that it was sent. So the end is told
/// first, and what still arrives is thrown away for a while.
#[derive(Debug)]
pub(super) struct Patient<S> {
    inner: S,
    /// Since the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Since it was told the end.
    lingers: Option<Pin<Box<Sleep>>>,
    discarded: usize,
}

impl<S> Patient<S> {
    pub(super) const fn new(inner: S) -> Self {
        Self { inner, stalled: None, lingers: None, discarded: 0 }
    }

    /// The same, but an error if it has been pending for too long.
    fn in_time<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        pin!(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = pin!(&mut self.inner).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = pin!(&mut self.inner).poll_write_vectored(context, bytes);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = pin!(&mut self.inner).poll_flush(context);
        self.in_time(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingers.is_none() {
            ready!(pin!(&mut self.inner).poll_shutdown(context))?;
        }
        let lingers = self.lingers.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if lingers.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut space = [0; AT_ONCE];
        while self.discarded < MOST_DISCARDED {
            let mut buffer = ReadBuf::new(&mut space);
            // It is over, whether the other side closes or breaks off.
            let read = ready!(pin!(&mut self.inner).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.discarded += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_of_an_answer_is_left() {
        let (mut client, server) = duplex(1_024);
        let mut server = Patient::new(server);
        server.write_all(&[b'x'; 1_000]).await.unwrap();
        let from = Instant::now();
        let refused = server.write_all(&[b'x'; 1_000]).await.unwrap_err();
        assert_eq!((refused.kind(), from.elapsed().as_secs()), (io::ErrorKind::TimedOut, 10));
        // Who takes something now and then is waited for.
        let mut some = [0; 100];
        let mut taken = client.read_exact(&mut some).await.unwrap();
        let writing = tokio::spawn(async move { server.write_all(&[b'x'; 1_000]).await });
        while taken < 2_000 {
            tokio::time::sleep(Duration::from_secs(9)).await;
            taken += client.read_exact(&mut some).await.unwrap();
        }
        writing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_still_sends_is_heard_out_for_a_while() {
        let (mut client, server) = duplex(1_024);
        let closing = tokio::spawn(async move { Patient::new(server).shutdown().await });
        assert_eq!(client.read(&mut [0; 10]).await.unwrap(), 0, "the end is told at once");
        client.write_all(&[b'x'; 100_000]).await.unwrap();
        let from = Instant::now();
        closing.await.unwrap().unwrap();
        assert_eq!(from.elapsed().as_secs(), 2);
        assert!(timeout(Duration::from_secs(1), client.write_all(&[b'x'; 10])).await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_stops_sending_is_not_heard_out() {
        let (mut client, server) = duplex(64 * 1_024);
        let closing = tokio::spawn(async move { Patient::new(server).shutdown().await });
        let mut sent = 0;
        while client.write_all(&[b'x'; 32 * 1_024]).await.is_ok() {
            sent += 32 * 1_024;
        }
        closing.await.unwrap().unwrap();
        assert!((MOST_DISCARDED..MOST_DISCARDED + 512 * 1_024).contains(&sent), "{sent}");
    }
}
