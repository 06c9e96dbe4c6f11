//! What a guest may say to the operator.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tollgate_tests::guests::Guest;
use tracing_subscriber::fmt::MakeWriter;

use super::request;

/// What was logged while one decision was made.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The lines of log of one decision of a guest that does `evil`.
async fn logged(evil: &str) -> Vec<String> {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).without_time().finish();
    let [gate, _] = super::gates(&Guest { name: "chatty", evil, ..Guest::HONEST }).await;
    // The runtime of the test has one thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    assert!(gate.decide(&request("denies", "/evil")).await.is_allowed());
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    text.lines().filter(|line| line.contains("tollgate::guest")).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_flood_of_lines_ends_after_four() {
    let evil = "(loop $again (call $write (i32.const 2) (i32.const 2307) (i32.const 5))
        (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 100))))";
    assert_eq!(logged(evil).await, [r#" WARN tollgate::guest: limit policy="chatty""#; 4]);
}

#[tokio::test]
async fn a_line_cannot_write_on_the_terminal_nor_begin_another() {
    let evil = "(i64.store (i32.const 3000) (i64.const 0x0a0d0a4a325b1b61)) (call $write (i32.const 3) (i32.const 3000) (i32.const 8))";
    assert_eq!(logged(evil).await, [r#"ERROR tollgate::guest: a\u{1b}[2J\n\r\n policy="chatty""#]);
}

#[tokio::test]
async fn a_long_line_is_cut_between_characters() {
    // A byte, then characters of two bytes.
    let evil = "(i32.store8 (i32.const 8192) (i32.const 97))
        (loop $next (i32.store16 offset=8193 (local.get $at) (i32.const 0xa9c3))
          (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 2))) (i32.const 4000))))
        (call $write (i32.const 1) (i32.const 8192) (i32.const 3001))";
    let line = format!(" INFO tollgate::guest: a{} policy=\"chatty\"", "é".repeat(255));
    assert_eq!(logged(evil).await, [line]);
}
