//! Every checker is proven by defects that it must find, and by which no other turns red without
//! a reason. The tables list them; `Plant` says how they get in.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod events;
mod plant;
mod shop;
mod told;

use plant::{Plant, Scene, guard_gone, key_forgotten, look_up_gone, naive_cursor};

/// What is wrong, how it gets in, and the invariants whose checkers must say so: these, no others.
type Defect = (&'static str, Plant, &'static [&'static str]);

#[tokio::test]
async fn a_shop_without_a_fault_breaks_nothing() {
    let mut scene = Scene::new().await;
    let (red, said) = scene.judge().await;
    assert!(red.is_empty(), "{said:#?}");
    scene.restore().await;
    let (red, said) = scene.judge().await;
    assert!(red.is_empty(), "what was taken away is back, and nothing else: {said:#?}");
}

async fn prove(defects: &[Defect]) {
    let mut scene = Scene::new().await;
    let mut wrong = vec![];
    for (name, plant, red) in defects {
        scene.plant(plant).await;
        let (found, said) = scene.judge().await;
        if found != *red {
            wrong.push(format!("{name}: expected {red:?}, found {found:?}: {said:#?}"));
        }
        scene.restore().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn sold_too_often_or_not_at_all() {
    let defects: &[Defect] = &[
        ("a hold of more than there is", Plant::Events(events::hold_beyond_stock), &["INV-1"]),
        ("two sellers at one version", Plant::Act(guard_gone), &["INV-1", "INV-9"]),
        ("a hold of a checkout that has failed", Plant::Events(events::hold_forgotten), &["INV-1"]),
        ("a second hold of one checkout", Plant::Events(events::hold_doubled), &["INV-1"]),
        ("a refusal while there is enough", Plant::Events(events::sold_out_in_name), &["INV-1"]),
        (
            "a unit too many in the read model",
            Plant::Sql("UPDATE read.catalog_stock_levels SET on_hand = on_hand + 1"),
            &["INV-1", "INV-5"],
        ),
    ];
    prove(defects).await;
}

#[tokio::test]
async fn money_that_does_not_add_up() {
    let defects: &[Defect] = &[
        // A checkout is completed with exactly its total, so its checker sees it as well.
        ("captured twice", Plant::Events(events::captured_twice), &["INV-2", "INV-3"]),
        ("captured more than authorised", Plant::Events(events::captured_too_much), &["INV-2"]),
        ("refunded more than captured", Plant::Events(events::refunded_too_much), &["INV-2"]),
        ("a refund that goes back twice", Plant::Events(events::refunded_twice), &["INV-2"]),
        ("an order of more than its lines", Plant::Events(events::order_too_dear), &["INV-2"]),
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
        ),
        ("it is stuck", Plant::Events(events::stuck), &["INV-3"]),
        ("it goes on after its end", Plant::Events(events::goes_on), &["INV-3"]),
        ("completed without its units", Plant::Events(events::not_allocated), &["INV-3"]),
        ("two orders of one checkout", Plant::Events(events::ordered_twice), &["INV-3"]),
        ("failed, and the money is still reserved", Plant::Events(events::not_voided), &["INV-3"]),
        ("a cancelled order that keeps units", Plant::Events(events::not_deallocated), &["INV-3"]),
        ("a refund that nobody carries out", Plant::Events(events::refund_forgotten), &["INV-3"]),
        (
            "work that nobody takes",
            Plant::Sql(
                "INSERT INTO process.work (store_id, process, id, due_at)
                        SELECT store_id, 'order', stream_id, now() - interval '5 min'
                          FROM log.streams WHERE category = 'order' LIMIT 1",
            ),
            &["INV-3"],
        ),
    ];
    prove(defects).await;
}

#[tokio::test]
async fn commands_that_are_lost_or_doubled() {
    let defects: &[Defect] = &[
        ("an answer to what was never stored", Plant::Told(told::lost), &["INV-4"]),
        ("a payment acknowledged that nobody made", Plant::Told(told::never_paid), &["INV-4"]),
        // An older copy comes back: readers that had seen more are ahead of it.
        ("a tail that is cut off", Plant::Sql(CUT_TAIL), &["INV-4", "INV-9"]),
        ("a refusal that took effect", Plant::Told(told::refused), &["INV-4"]),
        ("an answer with another position", Plant::Told(told::elsewhere), &["INV-4"]),
        ("one key, two command ids", Plant::Act(key_forgotten), &["INV-4"]),
        ("one command id, two effects", Plant::Act(look_up_gone), &["INV-4", "INV-9"]),
        ("another answer to a repeat", Plant::Told(told::another_body), &["INV-10"]),
        ("a repeat that does not say so", Plant::Told(told::as_new), &["INV-10"]),
        ("a repeat that is refused", Plant::Told(told::then_refused), &["INV-10"]),
        ("another body under a key that is used", Plant::Told(told::key_reused), &["INV-10"]),
    ];
    prove(defects).await;
}

/// The last product, as if it had never been made: what a server loses that says "committed" too
/// early, and comes back without.
const CUT_TAIL: &str = "
    CREATE TEMP TABLE tail AS
    SELECT category, stream_id, version, position FROM log.streams
     WHERE position = (SELECT position FROM log.head);
    DELETE FROM log.events e USING tail t WHERE (e.category, e.stream_id) = (t.category, t.stream_id);
    DELETE FROM log.commands c USING tail t WHERE (c.category, c.stream_id) = (t.category, t.stream_id);
    DELETE FROM log.streams s USING tail t WHERE (s.category, s.stream_id) = (t.category, t.stream_id);
    UPDATE log.head SET position = position - (SELECT version FROM tail)";

#[tokio::test]
async fn read_models_that_say_something_else() {
    let defects: &[Defect] = &[
        (
            "an update lost",
            Plant::Sql(
                "UPDATE read.order_summaries SET refunded_minor = 0 WHERE refunded_minor > 0",
            ),
            &["INV-5"],
        ),
        (
            "a row lost",
            Plant::Sql(
                "DELETE FROM read.order_timeline
                         WHERE position = (SELECT min(position) FROM read.order_timeline)",
            ),
            &["INV-5"],
        ),
        (
            "a row of nobody",
            Plant::Sql(
                "INSERT INTO read.analytics_credit_notes (store_id, document)
                        SELECT store_id, 'nobody' FROM log.streams LIMIT 1",
            ),
            &["INV-5"],
        ),
        ("a cursor that passes over a hole", Plant::Act(naive_cursor), &["INV-5"]),
        (
            "a batch applied without its checkpoint",
            Plant::Sql("UPDATE log.checkpoints SET position = position - 1 WHERE name = 'orders'"),
            &["INV-5"],
        ),
    ];
    prove(defects).await;
}

#[tokio::test]
async fn a_log_that_is_not_whole() {
    let defects: &[Defect] = &[
        ("an event deleted",
            Plant::Sql("DELETE FROM log.events WHERE position =
                            (SELECT min(position) FROM log.events
                              WHERE event_type = 'CheckoutStockSecured')"),
            &["INV-5", "INV-9"]),
        ("an event edited",
            Plant::Sql("UPDATE log.events
                           SET metadata = convert_to(replace(convert_from(metadata, 'UTF8'),
                                                             '\"user\"', '\"import\"'), 'UTF8')
                         WHERE position = 1"),
            &["INV-9"]),
        ("a stream row ahead of its stream",
            Plant::Sql("UPDATE log.streams SET version = version + 1
                         WHERE (category, stream_id) IN
                               (SELECT category, stream_id FROM log.streams LIMIT 1)"),
            &["INV-9"]),
        ("a head without its event",
            Plant::Sql("UPDATE log.head SET position = position + 1;
                        UPDATE log.checkpoints SET position = position + 1 WHERE name <> 'saga'"),
            &["INV-5", "INV-9"]),
        ("a command of which nothing is on record",
            Plant::Sql("DELETE FROM log.commands WHERE category = 'payment'"),
            &["INV-9"]),
        ("a reader ahead of the log",
            Plant::Sql("UPDATE log.checkpoints SET position = position + 5 WHERE name = 'orders'"),
            &["INV-9"]),
        ("an order number that anybody may take",
            Plant::Sql("DELETE FROM log.unique_keys WHERE scope = 'order_number'"),
            &["INV-9"]),
        ("a snapshot with another state",
            Plant::Sql("UPDATE log.snapshots
                           SET state = convert_to(replace(convert_from(state, 'UTF8'),
                                                          '\"on_hand\":10', '\"on_hand\":11'), 'UTF8')"),
            &["INV-9"]),
        ("a snapshot of a later version",
            Plant::Sql("UPDATE log.snapshots SET version = version + 1"),
            &["INV-9"]),
    ];
    prove(defects).await;
}
