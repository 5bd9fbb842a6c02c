//! From a command to its events, exactly once.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use event_store::pool::{self, Role};
use event_store::{Done, Engine, ExecuteError, KEY_BYTES_MAX, Request, StoreError};
use sqlx::postgres::PgSslMode;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{self, sleep, timeout};
use uuid::Uuid;

use crate::account::{ACCOUNT, Account, Command, Refusal, STORE, request};
use crate::db::{Db, Held, new_id};
use crate::proxy::{MARK, Proxy};

type Answer = Result<Done, ExecuteError<Refusal>>;

async fn execute(engine: &Engine, request: Request<Command>) -> Answer {
    engine.execute::<Account>(&ACCOUNT, request).await
}

async fn balance(engine: &Engine, id: Uuid) -> i64 {
    engine.load(&ACCOUNT, STORE, id).await.unwrap().state.balance
}

fn open(number: &str) -> Command {
    Command::Open { number: number.into() }
}

#[tokio::test]
async fn a_command_is_decided_stored_and_read_back() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    let mut appended = engine.appended();

    execute(&engine, request(id, open("1"))).await.unwrap();
    let done = execute(&engine, request(id, Command::Deposit { amount: 5 })).await.unwrap();

    assert_eq!(done, Done { id, version: 2, position: 2, replayed: false });
    let loaded = engine.load(&ACCOUNT, STORE, id).await.unwrap();
    assert_eq!((loaded.state.balance, loaded.version, loaded.position), (5, 2, 2));
    assert_eq!(*appended.borrow_and_update(), 2);
}

#[tokio::test]
async fn a_stream_longer_than_a_window_loads_whole() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    for _ in 0..5 {
        execute(&engine, request(id, Command::DepositOften { times: 500 })).await.unwrap();
    }

    let loaded = engine.load(&ACCOUNT, STORE, id).await.unwrap();

    assert_eq!((loaded.state.balance, loaded.version), (2500, 2500));
}

#[tokio::test]
async fn a_refusal_stores_nothing() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();

    let answer = execute(&engine, request(id, Command::Withdraw { amount: 1 })).await;

    assert!(matches!(answer, Err(ExecuteError::Refused(Refusal::Overdrawn))));
    assert_eq!(engine.load(&ACCOUNT, STORE, id).await.unwrap().version, 0);
}

#[tokio::test]
async fn an_empty_decision_stores_nothing_and_says_where_the_stream_is() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    execute(&engine, request(id, Command::Deposit { amount: 1 })).await.unwrap();

    let done = execute(&engine, request(id, Command::Close)).await.unwrap();

    assert_eq!(done, Done { id, version: 1, position: 1, replayed: false });
}

#[tokio::test]
async fn a_repeated_command_gets_the_first_answer() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    let opening = request(id, open("1"));
    let closing = request(id, Command::Close);
    let deposit = Request { expected: Some(1), ..request(id, Command::Deposit { amount: 5 }) };
    let mut first = vec![];
    for request in [&opening, &deposit, &closing] {
        first.push(execute(&engine, request.clone()).await.unwrap());
    }

    // Now the account would accept another opening, is past the deposit's version, and has
    // nothing left to close. The opening even names another stream this time.
    let opening = Request { id: new_id(), ..opening };
    for (request, first) in [opening, deposit, closing].into_iter().zip(first) {
        let again = execute(&engine, request).await.unwrap();
        assert_eq!(again, Done { replayed: true, ..first });
    }
    assert_eq!(engine.load(&ACCOUNT, STORE, id).await.unwrap().version, 3);
}

#[tokio::test]
async fn a_command_id_cannot_be_used_for_something_else() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    let first = request(id, Command::Deposit { amount: 1 });
    execute(&engine, first.clone()).await.unwrap();

    for command in [Command::Deposit { amount: 2 }, Command::Withdraw { amount: 9 }] {
        let other = Request { command, fingerprint: [8; 32], ..first.clone() };
        let answer = execute(&engine, other).await;
        assert!(matches!(answer, Err(ExecuteError::CommandReused)), "{answer:?}");
    }
    assert_eq!(balance(&engine, id).await, 1);
}

#[tokio::test]
async fn a_stale_version_is_a_mismatch() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    execute(&engine, request(id, Command::Deposit { amount: 1 })).await.unwrap();

    let stale = Request { expected: Some(0), ..request(id, Command::Deposit { amount: 1 }) };
    let answer = execute(&engine, stale).await;

    assert!(matches!(answer, Err(ExecuteError::VersionMismatch { current: 1 })), "{answer:?}");
}

#[tokio::test]
async fn a_number_is_taken_until_it_is_let_go() {
    let db = Db::new().await;
    let engine = db.engine();
    let (one, two) = (new_id(), new_id());
    execute(&engine, request(one, open("1"))).await.unwrap();

    let answer = execute(&engine, request(two, open("1"))).await;
    assert!(matches!(&answer, Err(ExecuteError::KeyTaken { key, .. }) if key == "1"), "{answer:?}");

    execute(&engine, request(one, Command::Renumber { number: "2".into() })).await.unwrap();
    execute(&engine, request(two, open("1"))).await.unwrap();
    assert_eq!(engine.key_owner(STORE, "account.number", "2").await.unwrap(), Some(one));
}

#[tokio::test]
async fn commands_to_one_stream_queue_up_in_a_process() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    let mut commands = JoinSet::new();
    for _ in 0..40 {
        let engine = engine.clone();
        let deposit = request(id, Command::Deposit { amount: 1 });
        commands.spawn(async move { execute(&engine, deposit).await });
    }

    for answer in commands.join_all().await {
        answer.unwrap();
    }
    assert_eq!(balance(&engine, id).await, 40);
}

#[tokio::test]
async fn processes_that_write_one_stream_decide_again_and_lose_nothing() {
    let db = Db::new().await;
    let id = new_id();
    // Engines of their own share no queue, like processes.
    let mut processes = JoinSet::new();
    for _ in 0..3 {
        let engine = db.engine();
        processes.spawn(async move {
            let mut done = 0;
            for _ in 0..20 {
                match execute(&engine, request(id, Command::Deposit { amount: 1 })).await {
                    Ok(_) => done += 1,
                    Err(ExecuteError::Conflict) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            done
        });
    }

    let done: i64 = processes.join_all().await.into_iter().sum();

    assert!(done >= 20, "at least one of three gets through each time: {done}");
    assert_eq!(balance(&db.engine(), id).await, done);
}

#[tokio::test]
async fn of_two_writers_that_saw_one_version_one_wins() {
    let db = Db::new().await;
    let (one, two) = (db.engine(), db.engine());
    let id = new_id();
    let withdraw = || Request { expected: Some(1), ..request(id, Command::Withdraw { amount: 1 }) };
    execute(&one, request(id, Command::Deposit { amount: 1 })).await.unwrap();

    let answers = tokio::join!(execute(&one, withdraw()), execute(&two, withdraw()));

    let (won, lost) = match answers {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        other => panic!("exactly one wins: {other:?}"),
    };
    assert_eq!(won.version, 2);
    assert!(matches!(lost, ExecuteError::VersionMismatch { current: 2 }));
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_stop_the_command() {
    let db = Db::new().await;
    let engine = db.engine();
    let ids: Vec<Uuid> = (0..50).map(|_| new_id()).collect();
    for (wait, id) in (0u64..).zip(&ids) {
        let command = execute(&engine, request(*id, Command::Deposit { amount: 1 }));
        let _ = timeout(Duration::from_micros(wait * 100), command).await;
    }

    engine.drain().await;

    for id in ids {
        assert_eq!(balance(&engine, id).await, 1);
    }
    let refused = execute(&engine, request(new_id(), Command::Deposit { amount: 1 })).await;
    assert!(matches!(refused, Err(ExecuteError::Store(StoreError::Busy))));
}

#[tokio::test]
async fn a_connection_that_dies_in_the_append_costs_nothing() {
    let db = Db::new().await;
    let engine = db.engine();
    let id = new_id();
    execute(&engine, request(id, Command::Deposit { amount: 1 })).await.unwrap();
    let held = Held::log(&db).await;
    let command = tokio::spawn({
        let engine = engine.clone();
        async move { execute(&engine, request(id, Command::Deposit { amount: 1 })).await }
    });

    // Kill the append where it waits for the lock, then let go of it.
    held.until_waiting(1).await;
    held.kill_waiting().await;
    held.let_go().await;

    assert_eq!(command.await.unwrap().unwrap().version, 2);
    assert_eq!(balance(&engine, id).await, 2);
}

/// An engine that reaches the server through a proxy.
async fn wired(db: &Db) -> (Proxy, Engine) {
    let options = db.options();
    let server = format!("{}:{}", options.get_host(), options.get_port());
    let proxy = Proxy::start(server).await;
    let wired = options.host("127.0.0.1").port(proxy.port).ssl_mode(PgSslMode::Disable);
    (proxy, Engine::new(pool::connect_lazy(wired, Role::Writer, 4), new_id))
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_and_a_lost_append_is_sent_again() {
    let db = Db::new().await;
    let (proxy, engine) = wired(&db).await;

    for cut in [Proxy::cut_before, Proxy::cut_after].repeat(5) {
        let id = new_id();
        let opening = request(id, open(&format!("{MARK} {id}")));
        cut(&proxy);

        let done = execute(&engine, opening.clone()).await.unwrap();

        assert!(proxy.was_used());
        assert_eq!((done.id, done.version), (id, 1));
        // What was answered is what the log says, once.
        let again = execute(&engine, opening).await.unwrap();
        assert_eq!(again, Done { replayed: true, ..done });
    }
    assert_eq!(*engine.appended().borrow(), 10);
}

#[tokio::test]
async fn a_server_that_falls_silent_does_not_stop_the_engine() {
    let db = Db::new().await;
    let (proxy, engine) = wired(&db).await;
    let id = new_id();
    proxy.fall_silent();
    let command = tokio::spawn({
        let engine = engine.clone();
        async move { execute(&engine, request(id, open(MARK))).await }
    });
    while !proxy.was_used() {
        sleep(Duration::from_millis(5)).await;
    }

    time::pause();
    time::advance(Duration::from_secs(31)).await;
    time::resume();

    let done = timeout(Duration::from_secs(5), command).await.expect("it waits for ever");
    assert_eq!(done.unwrap().unwrap().version, 1);
    assert_eq!(engine.load(&ACCOUNT, STORE, id).await.unwrap().version, 1);
}

#[tokio::test]
async fn a_key_that_no_index_takes_harms_only_its_own_command() {
    let db = Db::new().await;
    let engine = db.engine();
    let held = Held::log(&db).await;
    let mut before = JoinSet::new();
    let send = |commands: &mut JoinSet<Answer>, number: &str| {
        let (engine, opening) = (engine.clone(), request(new_id(), open(number)));
        commands.spawn(async move { execute(&engine, opening).await });
    };
    send(&mut before, "1");
    held.until_waiting(1).await;

    // Letters that do not compress away.
    let long: String = (0..200).map(|_| new_id().to_string()).collect();
    let (mut good, mut bad) = (JoinSet::new(), JoinSet::new());
    send(&mut good, "2");
    send(&mut bad, &long);
    send(&mut bad, "zero \0");
    send(&mut good, &"x".repeat(KEY_BYTES_MAX));
    sleep(Duration::from_millis(50)).await;
    held.let_go().await;

    for answer in good.join_all().await.into_iter().chain(before.join_all().await) {
        answer.unwrap();
    }
    for answer in bad.join_all().await {
        let error = answer.unwrap_err();
        let refused = ["TooLarge", "Encode"].iter().any(|name| format!("{error:?}").contains(name));
        assert!(refused, "{error:?}");
    }
}

#[tokio::test]
async fn draining_an_engine_drains_those_beside_it() {
    let db = Db::new().await;
    let engine = db.engine();
    let beside = engine.beside(db.pool(Role::Writer));
    let id = new_id();
    let held = Held::log(&db).await;
    let command = tokio::spawn({
        let beside = beside.clone();
        async move { execute(&beside, request(id, Command::Deposit { amount: 1 })).await }
    });
    held.until_waiting(1).await;

    let drained = timeout(Duration::from_millis(50), engine.drain()).await;
    assert!(drained.is_err(), "a command is in flight");
    held.let_go().await;
    engine.drain().await;

    assert_eq!(balance(&db.engine(), id).await, 1);
    assert_eq!(command.await.unwrap().unwrap().version, 1);
    let refused = execute(&beside, request(id, Command::Deposit { amount: 1 })).await;
    assert!(matches!(refused, Err(ExecuteError::Store(StoreError::Busy))), "{refused:?}");
}

#[test]
fn a_runtime_that_ends_takes_no_thread_with_it() {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Runtime::new().unwrap();
        let handle = runtime.handle().clone();
        let nowhere = "postgres://nobody@127.0.0.1:1/none".parse().unwrap();
        let guard = runtime.enter();
        let engine = Engine::new(pool::connect_lazy(nowhere, Role::Writer, 1), new_id);
        drop(guard);
        drop(runtime);
        // Like a task in the middle of its work while the runtime closes.
        let loaded = handle.block_on(engine.load(&ACCOUNT, STORE, new_id()));
        tell.send(matches!(loaded, Err(StoreError::Panicked))).unwrap();
    });

    assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(true));
}
