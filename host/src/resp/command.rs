//! The commands.

use bytes::Bytes;
use redis_protocol::resp2::types::BytesFrame;

use super::Service;
use super::reply::{Protocol, Reply, shown};
use super::session::Session;
use super::throttle::throttle;

/// The longest command's name, in bytes.
const LONGEST_NAME: usize = 32;
/// The longest name of a client, in bytes.
const LONGEST_CLIENT: usize = 64;
const COMMANDS: i64 = 12;

/// Answers the command of these words.
pub(super) async fn answer(service: &Service, session: &mut Session, words: &[Bytes]) -> Reply {
    let Some((name, arguments)) = words.split_first() else { return Reply::error("ERR no command") };
    let name = upper(name);
    if !session.is_let_in && !matches!(name.as_str(), "AUTH" | "HELLO" | "QUIT" | "RESET") {
        return Reply::error("NOAUTH Authentication required.");
    }
    match (name.as_str(), arguments) {
        ("CL.THROTTLE", arguments) => throttle(service, arguments).await,
        ("PING", []) => Reply::said("PONG"),
        ("PING" | "ECHO", [text]) => Reply::text(text.clone()),
        ("QUIT", _) => {
            session.is_over = true;
            Reply::OK
        }
        ("RESET", []) => {
            session.reset(service);
            Reply::said("RESET")
        }
        ("AUTH", [password]) => done(session.let_in(service, b"default", password)),
        ("AUTH", [user, password]) => done(session.let_in(service, user, password)),
        ("HELLO", options) => hello(service, session, options).unwrap_or_else(|refusal| refusal),
        ("SELECT", [database]) if &**database == b"0" => Reply::OK,
        ("SELECT", [_]) => Reply::error("ERR DB index is out of range: there is 0 alone"),
        ("CLIENT", [sub, options @ ..]) => client(session, sub, options).unwrap_or_else(|refusal| refusal),
        ("COMMAND", [sub]) if upper(sub) == "COUNT" => Reply::number(COMMANDS),
        ("COMMAND", _) => Reply::numbers([]),
        ("PING" | "ECHO" | "RESET" | "AUTH" | "SELECT" | "CLIENT", _) => {
            Reply::error(&format!("ERR wrong number of arguments for '{}' command", name.to_lowercase()))
        }
        _ => Reply::error(&format!(
            "ERR unknown command '{}': this is Tollgate, which knows CL.THROTTLE",
            shown(name.as_bytes())
        )),
    }
}

fn done(result: Result<(), Reply>) -> Reply {
    result.map_or_else(|refusal| refusal, |()| Reply::OK)
}

/// A word as commands are told apart by it; one that is too long is none.
fn upper(word: &[u8]) -> String {
    String::from_utf8_lossy(word.get(..LONGEST_NAME).unwrap_or(word)).to_ascii_uppercase()
}

/// `HELLO [protocol [AUTH user password] [SETNAME name]]`.
fn hello(service: &Service, session: &mut Session, options: &[Bytes]) -> Result<Reply, Reply> {
    let (protocol, mut options) = match options.split_first() {
        None => (session.protocol, options),
        Some((version, options)) => match &**version {
            b"2" => (Protocol::Resp2, options),
            b"3" => (Protocol::Resp3, options),
            _ => return Err(Reply::error("NOPROTO unsupported protocol version")),
        },
    };
    while let Some((option, rest)) = options.split_first() {
        options = match (upper(option).as_str(), rest) {
            ("AUTH", [user, password, rest @ ..]) => {
                session.let_in(service, user, password)?;
                rest
            }
            ("SETNAME", [name, rest @ ..]) => {
                set_name(session, name)?;
                rest
            }
            _ => return Err(Reply::error("ERR syntax error in HELLO")),
        };
    }
    if !session.is_let_in {
        let told = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be \
                    used to authenticate the client and select the RESP protocol version at the same time";
        return Err(Reply::error(told));
    }
    session.protocol = protocol;
    Ok(greeting(session))
}

fn greeting(session: &Session) -> Reply {
    let text = |text: &'static str| BytesFrame::BulkString(Bytes::from_static(text.as_bytes()));
    let version = if session.protocol == Protocol::Resp3 { 3 } else { 2 };
    Reply::Map(vec![
        ("server", text("tollgate")),
        ("version", text(env!("CARGO_PKG_VERSION"))),
        ("proto", BytesFrame::Integer(version)),
        ("id", BytesFrame::Integer(i64::try_from(session.id).unwrap_or(i64::MAX))),
        ("mode", text("standalone")),
        ("role", text("master")),
        ("modules", BytesFrame::Array(Vec::new())),
    ])
}

/// `CLIENT`, as far as libraries use it when they connect.
fn client(session: &mut Session, sub: &[u8], options: &[Bytes]) -> Result<Reply, Reply> {
    match (upper(sub).as_str(), options) {
        ("ID", []) => Ok(Reply::number(i64::try_from(session.id).unwrap_or(i64::MAX))),
        ("SETNAME", [name]) => set_name(session, name).map(|()| Reply::OK),
        ("GETNAME", []) if session.name.is_empty() => Ok(Reply::Nothing),
        ("GETNAME", []) => Ok(Reply::text(session.name.clone())),
        ("SETINFO", [_, _]) => Ok(Reply::OK),
        _ => Err(Reply::error("ERR of CLIENT, there are ID, SETNAME, GETNAME and SETINFO")),
    }
}

fn set_name(session: &mut Session, name: &Bytes) -> Result<(), Reply> {
    if name.len() > LONGEST_CLIENT || !name.iter().all(u8::is_ascii_graphic) {
        let told = format!("ERR a client's name is at most {LONGEST_CLIENT} visible characters without spaces");
        return Err(Reply::error(&told));
    }
    // A copy, so that no buffer that was read is kept for it.
    session.name = Bytes::copy_from_slice(name);
    Ok(())
}
