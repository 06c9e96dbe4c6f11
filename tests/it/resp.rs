//! The commands of redis-cell, as its users send them: with redis-cli, the redis crate and redis-py, and with bytes that nobody should send.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redis::{Client, Connection, RedisResult};
use tollgate_tests::{RedisServer, Server};

const LISTEN: (&str, &str) = ("TOLLGATE_RESP_LISTEN", "127.0.0.1:0");
const PASSWORD: &str = "open-sesame-open-sesame";

fn connect(server: &Server) -> Result<Connection> {
    Ok(Client::open(format!("redis://127.0.0.1:{}", server.resp_port()?))?.get_connection()?)
}

/// `CL.THROTTLE` with these arguments, in words.
fn throttle(connection: &mut Connection, arguments: &str) -> RedisResult<Vec<i64>> {
    redis::cmd("CL.THROTTLE").arg(arguments.split(' ').collect::<Vec<_>>()).query(connection)
}

#[test]
fn redis_cells_own_example_is_answered_alike() -> Result<()> {
    let server = Server::start([LISTEN])?;
    let connection = &mut connect(&server)?;
    assert_eq!(throttle(connection, "user123 15 30 60")?, [0, 16, 15, -1, 2]);
    assert_eq!(throttle(connection, "user123 15 30 60 0")?[..4], [0, 16, 15, -1], "0 takes nothing");
    assert_eq!(throttle(connection, "user123 15 30 60 15")?[..4], [0, 16, 0, -1]);
    let [refused, limit, remaining, wait, reset] = throttle(connection, "user123 15 30 60")?[..] else {
        panic!("five numbers")
    };
    assert_eq!((refused, limit, remaining), (1, 16, 0));
    assert!((1..=2).contains(&wait) && (31..=32).contains(&reset), "{wait} {reset}");
    assert_eq!(throttle(connection, "user456 0 1 3600")?, [0, 1, 0, -1, 3600], "each key for itself");
    assert_eq!(throttle(connection, "user456 0 1 3600")?[..3], [1, 1, 0]);
    assert_eq!(
        throttle(connection, "user789 4 1 3600 6")?,
        [1, 5, 5, -1, 0],
        "what never fits is not to be waited for"
    );
    Ok(())
}

#[test]
fn what_is_no_limit_is_an_error_and_the_connection_goes_on() -> Result<()> {
    let server = Server::start([LISTEN])?;
    let connection = &mut connect(&server)?;
    for (arguments, told) in [
        ("user123", "wrong number of arguments"),
        ("user123 15 30", "wrong number of arguments"),
        ("user123 15 30 sixty", "period `sixty` is not an integer"),
        ("user123 -1 30 60", "max_burst -1 is negative"),
        ("user123 15 0 60", "max 0"),
        ("user123 9223372036854775807 1 60", "burst 9223372036854775808"),
        ("user123 99999999999999999999 1 60", "is not an integer"),
        ("user123 15 30 60 -1", "quantity -1 is negative"),
    ] {
        let error = throttle(connection, arguments).unwrap_err().to_string();
        assert!(error.contains(told), "{arguments}: {error}");
    }
    let unknown = redis::cmd("GET").arg("user123").query::<String>(connection).unwrap_err().to_string();
    assert!(unknown.contains("unknown command 'GET'"), "{unknown}");
    assert_eq!(throttle(connection, "user123 15 30 60")?, [0, 16, 15, -1, 2], "an error takes nothing");
    Ok(())
}

#[test]
fn a_key_may_be_long_or_no_text() -> Result<()> {
    let server = Server::start([LISTEN])?;
    let connection = &mut connect(&server)?;
    for key in [vec![b'k'; 5_000], b"\x00\xff\r\n".to_vec(), Vec::new()] {
        let mut left = || -> Result<i64> {
            let asked = redis::cmd("CL.THROTTLE").arg(&key).arg(&[9, 1, 3_600]).query::<Vec<i64>>(connection)?;
            Ok(asked[2])
        };
        assert_eq!([left()?, left()?], [9, 8]);
    }
    Ok(())
}

#[test]
fn servers_on_one_redis_count_together_and_each_counter_expires() -> Result<()> {
    let redis = RedisServer::start()?;
    let url = redis.url();
    let servers = [Server::start([LISTEN, ("REDIS_URL", &url)])?, Server::start([LISTEN, ("REDIS_URL", &url)])?];
    let mut connections = [connect(&servers[0])?, connect(&servers[1])?];
    let mut passed = 0;
    for number in 0..30 {
        passed += 1 - throttle(&mut connections[number % 2], "user123 9 1 86400")?[0];
    }
    assert_eq!(passed, 10);
    let keys: Vec<String> = redis.run(&["KEYS", "ratelimit:{resp}:*"])?;
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(redis.run::<i64>(&["TTL", &keys[0]])? > 0);
    Ok(())
}

#[test]
fn a_tier_of_that_name_decides_instead() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("tollgate.toml");
    std::fs::write(
        &config,
        "[tiers.throttle]\npolicy = 'tiered'\nconfig.limits = [{ id = 'all', limit = '2/300d' }]\n",
    )?;
    let server = Server::start([LISTEN, ("TOLLGATE_CONFIG", config.to_str().unwrap())])?;
    let connection = &mut connect(&server)?;
    let all = (0..3).map(|_| throttle(connection, "user123 1000 1000 1")).collect::<RedisResult<Vec<_>>>()?;
    assert_eq!(all.iter().map(|reply| reply[0]).collect::<Vec<_>>(), [0, 0, 1], "{all:?}");
    assert_eq!(all[0][1..3], [2, 1]);
    Ok(())
}

#[test]
fn only_who_knows_the_password_asks() -> Result<()> {
    let server = Server::start([LISTEN, ("TOLLGATE_RESP_PASSWORD", PASSWORD)])?;
    let port = server.resp_port()?;
    for (url, passes) in [
        (format!("redis://:{PASSWORD}@127.0.0.1:{port}"), true),
        (format!("redis://default:{PASSWORD}@127.0.0.1:{port}/0"), true),
        (format!("redis://default:{PASSWORD}@127.0.0.1:{port}/?protocol=resp3"), true),
        (format!("redis://:guess@127.0.0.1:{port}"), false),
        (format!("redis://somebody:{PASSWORD}@127.0.0.1:{port}"), false),
    ] {
        let connected = Client::open(url.as_str())?.get_connection();
        assert_eq!(connected.is_ok(), passes, "{url}");
        if let Ok(mut connection) = connected {
            assert_eq!(throttle(&mut connection, "user123 15 30 60")?[0], 0, "{url}");
        }
    }
    let refused = throttle(&mut connect(&server)?, "user123 15 30 60").unwrap_err().to_string();
    assert!(refused.contains("Authentication required"), "{refused}");
    // Guessing goes on over new connections only.
    let guesses = b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n".repeat(100);
    assert_eq!(spoken(port, &guesses)?.matches("WRONGPASS").count(), 3);
    assert!(!server.output().contains(PASSWORD));
    Ok(())
}

#[test]
fn it_does_not_listen_for_strangers() -> Result<()> {
    let refused =
        tollgate_tests::command([("TOLLGATE_RESP_LISTEN", "0.0.0.0:0")])?.args(["config", "check"]).output()?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
    assert!(!refused.status.success() && told.contains("TOLLGATE_RESP_PASSWORD"), "{told}");
    Ok(())
}

#[test]
fn redis_cli_asks_in_both_versions_of_the_protocol() -> Result<()> {
    let server = Server::start([LISTEN, ("TOLLGATE_RESP_PASSWORD", PASSWORD)])?;
    let port = server.resp_port()?.to_string();
    let cli = |arguments: &[&str]| -> Result<String> {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &port, "-a", PASSWORD, "--no-auth-warning"]).args(arguments);
        let output = cli.output().context("failed to run `redis-cli`; install it: `apt-get install redis-tools`")?;
        Ok(String::from_utf8(output.stdout)?)
    };
    assert_eq!(cli(&["CL.THROTTLE", "user123", "15", "30", "60"])?, "0\n16\n15\n-1\n2\n");
    assert_eq!(cli(&["-3", "CL.THROTTLE", "user456", "15", "30", "60"])?, "0\n16\n15\n-1\n2\n");
    assert_eq!(cli(&["PING"])?, "PONG\n");
    assert_eq!(cli(&["ECHO", "hello"])?, "hello\n");
    assert!(cli(&["-3", "HELLO", "3"])?.contains("tollgate"));
    assert!(cli(&["CLIENT", "ID"])?.trim().parse::<u64>()? > 0);
    assert!(cli(&["SELECT", "1"])?.contains("out of range"));
    Ok(())
}

/// redis-py of Debian belongs to Debian's Python.
#[test]
fn redis_py_asks() -> Result<()> {
    let server = Server::start([LISTEN, ("TOLLGATE_RESP_PASSWORD", PASSWORD)])?;
    let program = format!(
        "import redis\nr = redis.Redis(port={}, password='{PASSWORD}')\nprint(r.ping(), r.execute_command('CL.THROTTLE', 'user123', 15, 30, 60))\n\
         p = r.pipeline(transaction=False)\nfor _ in range(20): p.execute_command('CL.THROTTLE', 'user456', 15, 1, 3600)\n\
         print([reply[0] for reply in p.execute()])",
        server.resp_port()?
    );
    let output = Command::new("/usr/bin/python3").args(["-c", &program]).output()?;
    let way_out = "install it, for example with `apt-get install python3-redis`";
    ensure!(output.status.success(), "{way_out}: {}", String::from_utf8_lossy(&output.stderr));
    let expected = "True [0, 16, 15, -1, 2]\n[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]\n";
    assert_eq!(String::from_utf8(output.stdout)?, expected);
    Ok(())
}

/// What is answered to these bytes until the connection is closed.
fn spoken(port: u16, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    // It may be closed before everything has left.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn bytes_that_nobody_should_send_harm_nobody() -> Result<()> {
    let server = Server::start([LISTEN])?;
    let port = server.resp_port()?;
    let ping = b"*1\r\n$4\r\nPING\r\n";
    let huge = [b"*2\r\n$4\r\nECHO\r\n$536870912\r\n".as_slice(), &[b'x'; 1_000_000]].concat();
    for (bytes, answer) in [
        (&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], "-ERR Protocol error"),
        (&b"*1000000000\r\n"[..], "-ERR Protocol error"),
        (&b"*1\r\n".repeat(100_000), "-ERR Protocol error"),
        (&huge, "-ERR Protocol error"),
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], "-ERR Protocol error"),
        (&b"*2\r\n$4\r\nPI"[..], ""),
        (&b"*1\r\n$11\r\nCL.THROTTLE\r\n"[..], "-ERR wrong number"),
        (&b"*1\r\n$8\r\nA\r\n+OK\r\n\r\n"[..], "-ERR unknown command"),
    ] {
        let spoken = spoken(port, bytes)?;
        assert!(spoken.starts_with(answer), "{}: {spoken}", bytes.escape_ascii().to_string().get(..40).unwrap_or(""));
        assert!(spoken.lines().count() <= 1, "an answer of one line: {spoken}");
    }
    // What is sent ahead is answered, all of it and in order.
    assert_eq!(spoken(port, &ping.repeat(10_000))?, "+PONG\r\n".repeat(10_000));
    assert_eq!(throttle(&mut connect(&server)?, "user123 15 30 60")?[0], 0);
    server.signal("TERM")?;
    let (status, output) = server.wait()?;
    assert!(status.success() && !output.contains("panicked"), "{output}");
    Ok(())
}
