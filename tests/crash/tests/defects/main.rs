//! Every checker is proven by defects that it must find, and by which no other turns red without
//! a reason. The tables list them; `Plant` says how they get in.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod early;
mod events;
mod plant;
mod shop;
mod told;

use plant::{Plant, QUIET, Scene, guard_gone, key_forgotten, look_up_gone, naive_cursor};

/// What is wrong, how it gets in, the invariants whose checkers must say so (these, no others), and
/// words of the question that it is there to prove.
type Defect = (&'static str, Plant, &'static [&'static str], &'static str);

#[tokio::test]
async fn a_shop_without_a_fault_breaks_nothing() {
    let mut scene = Scene::new().await;
    let (red, said) = scene.judge(QUIET).await;
    assert!(red.is_empty(), "{said:#?}");
    scene.restore().await;
    let (red, said) = scene.judge(QUIET).await;
    assert!(red.is_empty(), "what was taken away is back, and nothing else: {said:#?}");
}

#[tokio::test]
async fn what_is_under_way_is_no_defect() {
    let mut scene = Scene::new().await;
    let under_way = [events::stuck, events::refund_forgotten, events::not_driven];
    for events in under_way {
        scene.plant(&Plant::Events(events)).await;
    }
    scene.plant(&Plant::Sql(PROJECTOR_BEHIND)).await;
    let (red, said) = scene.judge(!QUIET).await;
    assert!(red.is_empty(), "{said:#?}");
}

async fn prove(defects: &[Defect]) {
    let mut scene = Scene::new().await;
    let mut wrong = vec![];
    for (name, plant, red, words) in defects {
        scene.plant(plant).await;
        let (found, said) = scene.judge(QUIET).await;
        if found != *red || !said.iter().any(|said| said.contains(words)) {
            wrong.push(format!(
                "{name}: expected {red:?} and `{words}`, found {found:?}: {said:#?}"
            ));
        }
        scene.restore().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn sold_too_often_or_not_at_all() {
    let defects: &[Defect] = &[
        (
            "a hold of more than there is",
            Plant::Events(events::hold_beyond_stock),
            &["INV-1"],
            "10 there, 11 held",
        ),
        (
            "two sellers at one version",
            Plant::Act(guard_gone),
            &["INV-1", "INV-9"],
            "10 there, 20 held",
        ),
        (
            "a hold of a checkout that has failed",
            Plant::Events(events::hold_forgotten),
            &["INV-1"],
            "which has ended",
        ),
        (
            "a second hold of one checkout",
            Plant::Events(events::hold_doubled),
            &["INV-1"],
            "of 2 holds",
        ),
        (
            "a refusal while there is enough",
            Plant::Events(events::sold_out_in_name),
            &["INV-1"],
            "was refused",
        ),
        (
            "a unit too many in the read model",
            Plant::Sql("UPDATE read.catalog_stock_levels SET on_hand = on_hand + 1"),
            &["INV-1", "INV-5"],
            "the read model has",
        ),
    ];
    prove(defects).await;
}

#[tokio::test]
async fn money_that_does_not_add_up() {
    let defects: &[Defect] = &[
        // A checkout is completed with exactly its total, so its checker sees it as well.
        (
            "captured twice",
            Plant::Events(events::captured_twice),
            &["INV-2", "INV-3"],
            "captured 2 times",
        ),
        (
            "captured more than authorised",
            Plant::Events(events::captured_too_much),
            &["INV-2"],
            "449 authorised, 450 captured",
        ),
        (
            "refunded more than captured",
            Plant::Events(events::refunded_too_much),
            &["INV-2"],
            "1350 captured, 1800 refunded",
        ),
        (
            "a refund that goes back twice",
            Plant::Events(events::refunded_twice),
            &["INV-2"],
            "succeeded 2 times",
        ),
        (
            "more asked for than it costs",
            Plant::Events(events::asked_too_much),
            &["INV-2"],
            "asks for 451",
        ),
        (
            "another sum paid than owed",
            Plant::Events(events::paid_too_little),
            &["INV-2"],
            "449 paid",
        ),
        (
            "an order of more than its lines",
            Plant::Events(events::order_too_dear),
            &["INV-2"],
            "its lines and charges of 451",
        ),
    ];
    prove(defects).await;
}

#[tokio::test]
async fn checkouts_that_do_not_end_or_not_well() {
    let defects: &[Defect] = &[
        // Its units are held for nobody, too.
        (
            "nobody drives it past the end of its hold",
            Plant::Events(events::not_driven),
            &["INV-1", "INV-3"],
            "its hold ended",
        ),
        ("it is stuck", Plant::Events(events::stuck), &["INV-3"], "is CheckoutStuck"),
        ("it goes on after its end", Plant::Events(events::goes_on), &["INV-3"], "goes on to"),
        (
            "completed without its units",
            Plant::Events(events::not_allocated),
            &["INV-3"],
            "its order was given",
        ),
        (
            "completed without an order",
            Plant::Events(events::completed_in_name),
            &["INV-3"],
            "is completed: order",
        ),
        (
            "two orders of one checkout",
            Plant::Events(events::ordered_twice),
            &["INV-3"],
            "became ord_",
        ),
        (
            "two orders of one number",
            Plant::Events(events::numbered_twice),
            &["INV-3", "INV-9"],
            "number FORGED-1 is of",
        ),
        (
            "failed, and the money is still reserved",
            Plant::Events(events::not_voided),
            &["INV-3"],
            "is PaymentAuthorised",
        ),
        (
            "failed, and the order lives on",
            Plant::Events(events::not_given_up),
            &["INV-3"],
            "is alive",
        ),
        (
            "a cancelled order that keeps units",
            Plant::Events(events::not_deallocated),
            &["INV-3"],
            "it is cancelled",
        ),
        (
            "a refund that nobody carries out",
            Plant::Events(events::refund_forgotten),
            &["INV-3"],
            "refunds {",
        ),
        (
            "a cancellation that nobody carries out",
            Plant::Events(events::cancellation_forgotten),
            &["INV-3"],
            "cancelled 0 of 1 times",
        ),
        ("work that nobody takes", Plant::Sql(WORK_LEFT), &["INV-3"], "is due since"),
    ];
    prove(defects).await;
}

const WORK_LEFT: &str = "
    INSERT INTO process.work (store_id, process, id, due_at)
    SELECT store_id, 'order', stream_id, now() - interval '5 min'
      FROM log.streams WHERE category = 'order' LIMIT 1";

#[tokio::test]
async fn commands_that_are_lost_or_doubled() {
    let defects: &[Defect] = &[
        ("an answer to what was never stored", Plant::Told(told::lost), &["INV-4"], "and is lost"),
        (
            "a payment acknowledged that nobody made",
            Plant::Told(told::never_paid),
            &["INV-4"],
            "/complete: answered 200",
        ),
        // An older copy comes back: readers that had seen more are ahead of it.
        ("a tail that is cut off", Plant::Sql(CUT_TAIL), &["INV-4", "INV-9"], "and is lost"),
        (
            "a refusal that took effect",
            Plant::Told(told::refused),
            &["INV-4"],
            "refused, and has taken effect",
        ),
        (
            "an answer with another position",
            Plant::Told(told::elsewhere),
            &["INV-4"],
            "answered position",
        ),
        (
            "a refusal on record that took effect",
            Plant::Sql(REFUSED_AND_DONE),
            &["INV-4"],
            "was refused with validation_failed",
        ),
        ("one key, two command ids", Plant::Act(key_forgotten), &["INV-4"], "was never sent"),
        (
            "one command id, two effects",
            Plant::Act(look_up_gone),
            &["INV-4", "INV-9"],
            "recorded 2 times",
        ),
        ("another answer to a repeat", Plant::Told(told::another_body), &["INV-10"], "then (200"),
        (
            "a repeat that does not say so",
            Plant::Told(told::as_new),
            &["INV-10"],
            "does not say that it is one",
        ),
        (
            "a repeat that is refused",
            Plant::Told(told::then_refused),
            &["INV-10"],
            "then refused, 409",
        ),
        (
            "another body under a key that is used",
            Plant::Told(told::key_reused),
            &["INV-10"],
            "another body got 200",
        ),
    ];
    prove(defects).await;
}

const REFUSED_AND_DONE: &str = "
    INSERT INTO log.refusals (store_id, refused_at, actor_kind, actor_id, operation, code, status,
                              request_id, correlation_id, path)
    SELECT store_id, recorded_at, 'user', gen_random_uuid(), 'stock_receive', 'validation_failed',
           422, metadata ->> 'request_id', gen_random_uuid(), '/'
      FROM log.events_json WHERE event_type = 'StockReceived' LIMIT 1";

/// The last product, as if it had never been made: what a server loses that says "committed" too
/// early, and comes back without. The same by itself: `early.rs`.
const CUT_TAIL: &str = "
    CREATE TEMP TABLE tail AS
    SELECT category, stream_id, version, position FROM log.streams
     WHERE position = (SELECT position FROM log.head);
    DELETE FROM log.events e USING tail t WHERE (e.category, e.stream_id) = (t.category, t.stream_id);
    DELETE FROM log.commands c USING tail t WHERE (c.category, c.stream_id) = (t.category, t.stream_id);
    DELETE FROM log.streams s USING tail t WHERE (s.category, s.stream_id) = (t.category, t.stream_id);
    UPDATE log.head SET position = position - (SELECT version FROM tail);
    DROP TABLE tail";

#[tokio::test]
async fn read_models_that_say_something_else() {
    let defects: &[Defect] = &[
        ("an update lost", Plant::Sql(UPDATE_LOST), &["INV-5"], "order_summaries has only live"),
        ("a row lost", Plant::Sql(ROW_LOST), &["INV-5"], "order_timeline has only rebuilt"),
        (
            "a row of nobody",
            Plant::Sql(ROW_OF_NOBODY),
            &["INV-5"],
            "analytics_credit_notes has only live",
        ),
        (
            "a cursor that passes over a hole",
            Plant::Act(naive_cursor),
            &["INV-5"],
            "order_timeline has only rebuilt",
        ),
        (
            "a batch applied without its checkpoint",
            Plant::Sql(PROJECTOR_BEHIND),
            &["INV-5"],
            "is behind the log",
        ),
    ];
    prove(defects).await;
}

const UPDATE_LOST: &str =
    "UPDATE read.order_summaries SET refunded_minor = 0 WHERE refunded_minor > 0";
const ROW_LOST: &str = "
    DELETE FROM read.order_timeline
     WHERE position = (SELECT min(position) FROM read.order_timeline)";
const ROW_OF_NOBODY: &str = "
    INSERT INTO read.analytics_credit_notes (store_id, document)
    SELECT store_id, 'nobody' FROM log.streams LIMIT 1";
/// The last event is none of an order, so that only the checkpoint is wrong.
const PROJECTOR_BEHIND: &str =
    "UPDATE log.checkpoints SET position = position - 1 WHERE name = 'orders'";

#[tokio::test]
async fn a_log_that_is_not_whole() {
    let defects: &[Defect] = &[
        ("an event deleted", Plant::Sql(EVENT_DELETED), &["INV-5", "INV-9"], "are missing"),
        ("an event edited", Plant::Sql(EVENT_EDITED), &["INV-9"], "do not match the hash"),
        ("an event id used twice", Plant::Sql(ID_TWICE), &["INV-9"], "stands at 2 positions"),
        (
            "an event of a later shape",
            Plant::Sql(LATER_SHAPE),
            &["INV-5", "INV-9"],
            "has version 2",
        ),
        ("a stream row ahead of its stream", Plant::Sql(STREAM_AHEAD), &["INV-9"], "to end here"),
        ("a head without its event", Plant::Sql(HEAD_AHEAD), &["INV-5", "INV-9"], "are missing"),
        ("a command not on record", Plant::Sql(NO_RECORD), &["INV-9"], "recorded is None"),
        ("a record without events", Plant::Sql(NO_EVENTS), &["INV-9"], "commands are recorded"),
        ("a reader ahead of the log", Plant::Sql(READER_AHEAD), &["INV-9"], "orders is at"),
        ("an order number for anybody", Plant::Sql(KEY_LOST), &["INV-9"], "which is of nobody"),
        ("a snapshot of another state", Plant::Sql(OTHER_STATE), &["INV-9"], "a replay makes"),
        ("a snapshot of a later version", Plant::Sql(LATER_STATE), &["INV-9"], "the stream of"),
    ];
    prove(defects).await;
}

const EVENT_DELETED: &str = "
    DELETE FROM log.events WHERE position =
        (SELECT min(position) FROM log.events WHERE event_type = 'CheckoutStockSecured')";
const EVENT_EDITED: &str = r#"
    UPDATE log.events SET metadata = convert_to(
        replace(convert_from(metadata, 'UTF8'), '"user"', '"import"'), 'UTF8')
     WHERE position = 1"#;
const ID_TWICE: &str = "
    UPDATE log.events SET event_id = (SELECT event_id FROM log.events WHERE position = 1)
     WHERE position = 2";
const LATER_SHAPE: &str = "
    UPDATE log.events SET schema_version = 2
     WHERE position = (SELECT min(position) FROM log.events WHERE event_type = 'StockReceived')";
const STREAM_AHEAD: &str = "
    UPDATE log.streams SET version = version + 1
     WHERE (category, stream_id) IN (SELECT category, stream_id FROM log.streams LIMIT 1)";
const HEAD_AHEAD: &str = "
    UPDATE log.head SET position = position + 1;
    UPDATE log.checkpoints SET position = position + 1 WHERE name <> 'saga'";
const NO_RECORD: &str = "DELETE FROM log.commands WHERE category = 'payment'";
const NO_EVENTS: &str = "
    INSERT INTO log.commands (store_id, command_id, recorded_at, fingerprint, category, stream_id,
                              version, position)
    SELECT store_id, gen_random_uuid(), recorded_at, fingerprint, category, stream_id, version, position
      FROM log.commands LIMIT 1";
const READER_AHEAD: &str =
    "UPDATE log.checkpoints SET position = position + 5 WHERE name = 'orders'";
const KEY_LOST: &str = "DELETE FROM log.unique_keys WHERE scope = 'order_number'";
const OTHER_STATE: &str = r#"
    UPDATE log.snapshots SET state = convert_to(
        replace(convert_from(state, 'UTF8'), '"on_hand":10', '"on_hand":11'), 'UTF8')"#;
const LATER_STATE: &str = "UPDATE log.snapshots SET version = version + 1";
