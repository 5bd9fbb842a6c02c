//! How a defect gets into a shop that works: as what it would leave behind, or as itself.

use std::pin::Pin;

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use crash::{Evidence, History};
use event_schemas::{
    ids::{ActorId, CommandId, StoreId},
    metadata::{Actor, ActorKind, Metadata},
};
use event_store::{
    Engine, KeyChange, NewEvent, StreamKey, Unit, checkpoint::write_checkpoint, pool, read,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use test_database::Database;
use uuid::Uuid;

use crate::{
    events,
    shop::{Healthy, Ids, STORE, new_id, options, project},
};

/// One way for things to go wrong.
pub(crate) enum Plant {
    /// Somebody with every right changes what is stored.
    Sql(&'static str),
    /// A rule is missing: events that no decision would make, in a log that is whole.
    Events(fn(&Ids) -> Vec<Forged>),
    /// The clients were told something else.
    Told(fn(&mut History)),
    /// Whatever it takes.
    Act(for<'a> fn(&'a mut Scene) -> Acting<'a>),
}

/// Nothing is under way: everything must be as it is to be in the end.
pub(crate) const QUIET: bool = true;

/// What an act comes to.
pub(crate) type Acting<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The shop, where one defect after the other is planted and taken away again.
pub(crate) struct Scene {
    owner: PgPool,
    healthy: Healthy,
    /// With what clients were told otherwise, if that is the defect.
    history: History,
    pub(crate) ids: Ids,
    /// How `log.append` and the unique indexes were made.
    append: String,
    indexes: String,
}

/// Keeps all that is stored.
const KEEP: &str = "
    CREATE SCHEMA kept;
    CREATE TABLE kept.names AS
    SELECT c.relnamespace::regnamespace AS home, c.relname AS name,
           string_agg(quote_ident(a.attname), ', ') AS columns
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
           AND NOT a.attisdropped AND a.attgenerated = ''
     WHERE c.relnamespace IN ('log'::regnamespace, 'read'::regnamespace, 'process'::regnamespace)
       AND c.relkind IN ('r', 'p') AND NOT c.relispartition
     GROUP BY 1, 2;
    DO $$ DECLARE t record; BEGIN
        FOR t IN SELECT * FROM kept.names LOOP
            EXECUTE format('CREATE TABLE kept.%I AS SELECT %s FROM %s.%I',
                           t.home || '_' || t.name, t.columns, t.home, t.name);
        END LOOP;
    END $$";

/// Puts it back.
const PUT_BACK: &str = "
    DO $$ DECLARE t record; BEGIN
        FOR t IN SELECT * FROM kept.names LOOP
            EXECUTE format('DELETE FROM %s.%I', t.home, t.name);
            EXECUTE format('INSERT INTO %s.%I (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM kept.%I',
                           t.home, t.name, t.columns, t.columns, t.home || '_' || t.name);
        END LOOP;
    END $$";

/// Statements that make the unique indexes of the log, as far as they are gone.
const INDEXES: &str = "
    SELECT string_agg(replace(indexdef, ' INDEX ', ' INDEX IF NOT EXISTS '), ';') FROM pg_indexes
     WHERE schemaname = 'log' AND (indexname LIKE 'events%by_stream' OR indexname LIKE 'commands%once')";

/// An event, and the keys it claims.
pub(crate) struct Forged {
    category: &'static str,
    id: Uuid,
    event: NewEvent,
    keys: Vec<KeyChange>,
}

/// An event of the stream of an aggregate.
pub(crate) fn forged<E: DomainEvent>(category: &'static str, id: Uuid, event: &E) -> Forged {
    let event = NewEvent {
        event_id: new_id(),
        event_type: event.event_type(),
        schema_version: 1,
        payload: serde_json::to_vec(event).unwrap(),
    };
    Forged { category, id, event, keys: vec![] }
}

impl Forged {
    /// Claims a unique key with it.
    pub(crate) fn claiming(self, scope: &'static str, key: &str) -> Forged {
        Forged { keys: vec![KeyChange::Claim { scope, key: key.to_owned() }], ..self }
    }
}

impl Scene {
    pub(crate) async fn new() -> Scene {
        let healthy = Healthy::new().await;
        let owner = pool::connect_lazy(options(&healthy.database), pool::Role::Owner, 2);
        let append = sqlx::query_scalar("SELECT pg_get_functiondef('log.append'::regproc)");
        let append = append.fetch_one(&owner).await.unwrap();
        let indexes = sqlx::query_scalar(INDEXES).fetch_one(&owner).await.unwrap();
        let (ids, history) = (healthy.ids, healthy.history.clone());
        let scene = Scene { owner, healthy, history, ids, append, indexes };
        scene.sabotage(KEEP).await;
        scene
    }

    /// Takes a defect away.
    pub(crate) async fn restore(&mut self) {
        self.history = self.healthy.history.clone();
        self.sabotage(PUT_BACK).await;
        self.sabotage(&self.append).await;
        self.sabotage(&self.indexes).await;
    }

    fn database(&self) -> &Database {
        &self.healthy.database
    }

    pub(crate) async fn plant(&mut self, plant: &Plant) {
        match plant {
            Plant::Sql(sql) => self.sabotage(sql).await,
            Plant::Events(events) => {
                for forged in events(&self.ids) {
                    self.append(forged, ActorKind::System).await;
                }
                project(self.database()).await;
            }
            Plant::Told(tell) => tell(&mut self.history),
            Plant::Act(act) => act(self).await,
        }
    }

    /// The invariants that are said to be broken, sorted, each once; and what was said.
    pub(crate) async fn judge(&self, quiet: bool) -> (Vec<&'static str>, Vec<String>) {
        let pg = options(self.database());
        let evidence = Evidence { pg, history: self.history.clone(), quiet };
        let violations = crash::checks::all(&evidence).await.unwrap();
        let mut red: Vec<_> = violations.iter().map(|violation| violation.invariant).collect();
        red.sort_unstable();
        red.dedup();
        (red, violations.iter().map(ToString::to_string).collect())
    }

    /// Runs SQL as the superuser.
    async fn sabotage(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.owner).await.unwrap();
    }

    async fn append(&self, forged: Forged, kind: ActorKind) {
        let unit = self.unit(forged, kind, new_id()).await;
        Engine::new(self.owner.clone(), new_id).append(vec![unit]).await.unwrap();
    }

    /// As a program would append it that decides on what there is.
    async fn unit(&self, forged: Forged, kind: ActorKind, command_id: Uuid) -> Unit {
        let Forged { category, id, event, keys } = forged;
        let store_id = StoreId::of_slug(STORE).0;
        let version: Option<i64> = sqlx::query_scalar(
            "SELECT version FROM log.streams WHERE store_id = $1 AND category = $2 AND stream_id = $3",
        )
        .bind(store_id)
        .bind(category)
        .bind(id)
        .fetch_optional(&self.owner)
        .await
        .unwrap();
        let metadata = Metadata {
            actor: Actor { kind, id: ActorId::derive(&[b"developer", STORE.as_bytes()]) },
            command_id: CommandId(command_id),
            correlation_id: "defect".to_owned(),
            occurred_at: DateTime::<Utc>::UNIX_EPOCH,
            request_id: None,
        };
        Unit {
            stream: StreamKey { store_id, category, id },
            expected: version.unwrap_or(0),
            command_id,
            fingerprint: [7; 32],
            metadata: serde_json::to_vec(&metadata).unwrap(),
            keys,
            events: vec![event],
        }
    }
}

/// A retry that does not know of the first try: the same wish of the same client under a command
/// id that nobody derived from its key.
pub(crate) fn key_forgotten(scene: &mut Scene) -> Acting<'_> {
    Box::pin(async move {
        let again = events::received(scene.ids.bar, 5);
        scene.append(again, ActorKind::User).await;
        project(scene.database()).await;
    })
}

/// Nothing finds out that a command was carried out before, and it is sent twice.
pub(crate) fn look_up_gone(scene: &mut Scene) -> Acting<'_> {
    Box::pin(async move {
        scene.drop_indexes("commands%once").await;
        let command = &scene.history.entries.iter().find(|it| it.path.ends_with("/receive"));
        let command_id = command.unwrap().command_id().0;
        let again = events::received(scene.ids.bar, 5);
        let unit = scene.unit(again, ActorKind::User, command_id).await;
        Engine::new(scene.owner.clone(), new_id).append(vec![unit]).await.unwrap();
        project(scene.database()).await;
    })
}

/// `log.append` does not look at versions any more, and two sellers take the same units.
pub(crate) fn guard_gone(scene: &mut Scene) -> Acting<'_> {
    Box::pin(async move {
        scene.rewrite_append("AND st.version = s.from_version", "").await;
        scene.drop_indexes("events%by_stream").await;
        let nib = scene.ids.nib;
        let one = scene.unit(events::reserved(nib, 1, 10), ActorKind::System, new_id()).await;
        let other = scene.unit(events::reserved(nib, 2, 10), ActorKind::System, new_id()).await;
        let engine = Engine::new(scene.owner.clone(), new_id);
        engine.append(vec![one]).await.unwrap();
        engine.append(vec![other]).await.unwrap();
        project(scene.database()).await;
    })
}

/// A projector that goes by the highest position it has seen, while a lower one is not yet to be
/// seen: it never reads that event.
pub(crate) fn naive_cursor(scene: &mut Scene) -> Acting<'_> {
    Box::pin(async move {
        let mut conn = PgConnection::connect_with(&options(scene.database())).await.unwrap();
        let seen = read::head(&mut conn).await.unwrap();
        for forged in events::refused_refund(&scene.ids) {
            scene.append(forged, ActorKind::System).await;
        }
        let batch = read::read_after(&mut conn, seen, read::WINDOW).await.unwrap();
        let mut tx = conn.begin().await.unwrap();
        sqlx::raw_sql("SET LOCAL search_path = read").execute(&mut *tx).await.unwrap();
        let projection = projections::find("orders").unwrap();
        (projection.apply)(&mut tx, &batch[1..]).await.unwrap();
        write_checkpoint(&mut tx, "orders", batch.last().unwrap().position).await.unwrap();
        tx.commit().await.unwrap();
        conn.close().await.unwrap();
        project(scene.database()).await;
    })
}

impl Scene {
    /// Takes a part of `log.append` out, as a careless migration would.
    async fn rewrite_append(&self, part: &str, instead: &str) {
        assert!(self.append.contains(part), "log.append has no `{part}`");
        self.sabotage(&self.append.replace(part, instead)).await;
    }

    async fn drop_indexes(&self, pattern: &str) {
        let names = "SELECT format('DROP INDEX log.%I', indexname) FROM pg_indexes
                      WHERE schemaname = 'log' AND indexname LIKE $1";
        let drops: Vec<String> =
            sqlx::query_scalar(names).bind(pattern).fetch_all(&self.owner).await.unwrap();
        assert!(!drops.is_empty(), "the log has no index {pattern}");
        self.sabotage(&drops.join(";")).await;
    }
}
