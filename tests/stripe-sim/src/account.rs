//! One merchant's account: which request leads where.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    answer::{Refused, Reply, Request, page},
    events::{Event, LISTED_SECONDS},
    faults::{Chance, Fault, Faults},
    idempotency::{Keys, in_use},
    intent::{Charge, Intent, Refund, Status},
    params::Params,
    webhooks::{Endpoint, Webhooks},
};

/// How long a key is in use after an answer was lost, in seconds.
const BUSY_SECONDS: i64 = 2;

/// How long bank debits and slow refunds take unless told otherwise, in seconds.
const SETTLE_SECONDS: i64 = 30;

/// Objects of a page unless told otherwise, and at most.
const PAGE: (i64, i64) = (10, 100);

/// A merchant's account. Ids count up, so that maps are in order of creation.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) intents: BTreeMap<String, Intent>,
    pub(crate) charges: BTreeMap<String, Charge>,
    pub(crate) refunds: BTreeMap<String, Refund>,
    pub(crate) events: Vec<Event>,
    pub(crate) webhooks: Webhooks,
    pub(crate) chance: Chance,
    pub(crate) settle_seconds: i64,
    pub(crate) refund_seconds: i64,
    pub(crate) now: i64,
    request_key: Option<String>,
    keys: Keys,
    last: u64,
}

impl Account {
    pub(crate) fn new(name: &str) -> Account {
        Account {
            name: name.to_owned(),
            intents: BTreeMap::new(),
            charges: BTreeMap::new(),
            refunds: BTreeMap::new(),
            events: vec![],
            webhooks: Webhooks::default(),
            chance: Chance::new(Faults::default()),
            settle_seconds: SETTLE_SECONDS,
            refund_seconds: SETTLE_SECONDS,
            now: 0,
            request_key: None,
            keys: Keys::default(),
            last: 0,
        }
    }

    /// Lets time pass: what takes its time gets done.
    pub(crate) fn pass(&mut self, now: i64) {
        self.now = now;
        self.request_key = None;
        self.pass_intents();
        self.pass_refunds();
    }

    /// `public`: the shopper's browser asks, with the publishable key.
    pub(crate) fn handle(&mut self, request: &Request<'_>, public: bool, now: i64) -> Reply {
        self.pass(now);
        let fault = self.chance.fault();
        match fault {
            Some(Fault::RequestLost) => return Reply::lost(),
            Some(Fault::RateLimited) => return rate_limited(),
            _ => {}
        }
        let reply = if request.method == "GET" {
            let done = self.read(request, public);
            done.map_or_else(Refused::reply, |body| Reply::new(200, body))
        } else {
            self.write(request, public, fault)
        };
        if fault == Some(Fault::ReplyLost) { Reply::lost() } else { reply }
    }

    fn write(&mut self, request: &Request<'_>, public: bool, fault: Option<Fault>) -> Reply {
        let key = request.idempotency_key;
        match (fault, key) {
            (Some(Fault::InUse), Some(key)) => return in_use(key).reply(),
            _ => self.request_key = key.map(str::to_owned),
        }
        match self.keys.find(request, self.now) {
            Ok(None) => {}
            Ok(Some(reply)) => return reply,
            Err(refused) => return refused.reply(),
        }
        let done = match fault {
            Some(Fault::SavedError) => Err(server_error()),
            _ => self.post(request, public),
        };
        let (mut reply, saved) = match done {
            Ok(body) => (Reply::new(200, body), true),
            Err(refused) => (refused.clone().reply(), refused.saved),
        };
        if saved && fault == Some(Fault::SavedErrorAfter) {
            reply = server_error().reply();
        }
        if saved {
            let busy = if fault == Some(Fault::ReplyLost) { BUSY_SECONDS } else { 0 };
            self.keys.save(request, &reply, self.now, self.now + busy);
        }
        reply
    }

    fn post(&mut self, request: &Request<'_>, public: bool) -> Result<Value, Refused> {
        let params = Params::read(request.body);
        let path: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        if public {
            let ["v1", "payment_intents", id, "confirm"] = path[..] else {
                return Err(unknown(request));
            };
            self.shoppers(id, &params)?;
        }
        match path[..] {
            ["v1", "payment_intents"] => self.create_intent(&params),
            ["v1", "payment_intents", id, "confirm"] => self.confirm_intent(id, &params),
            ["v1", "payment_intents", id, "capture"] => self.capture_intent(id, &params),
            ["v1", "payment_intents", id, "cancel"] => self.cancel_intent(id, &params),
            ["v1", "refunds"] => self.create_refund(&params),
            ["v1", "webhook_endpoints"] => self.create_endpoint(&params),
            _ => Err(unknown(request)),
        }
    }

    fn read(&self, request: &Request<'_>, public: bool) -> Result<Value, Refused> {
        let params = Params::read(request.query.as_bytes());
        let path: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        if public {
            let ["v1", "payment_intents", id] = path[..] else { return Err(unknown(request)) };
            self.shoppers(id, &params)?;
        }
        match path[..] {
            ["v1", "payment_intents", id] => {
                self.intent(id)?;
                Ok(self.intent_document(id, &params))
            }
            ["v1", "payment_intents"] => {
                let all = self.intents.values().rev().map(|intent| (&intent.id, intent.created));
                Self::list("/v1/payment_intents", all, &params, |id| {
                    self.intent_document(id, &params)
                })
            }
            ["v1", "charges", id] => {
                let charge = self.charges.get(id).map(Charge::document);
                charge.ok_or_else(|| Refused::missing("charge", id))
            }
            ["v1", "refunds", id] => {
                let refund = self.refunds.get(id).map(Refund::document);
                refund.ok_or_else(|| Refused::missing("refund", id))
            }
            ["v1", "refunds"] => {
                let of = params.get("payment_intent");
                let wanted = |refund: &&Refund| of.is_none_or(|intent| refund.intent == intent);
                let all = self.refunds.values().rev().filter(wanted);
                let all = all.map(|refund| (&refund.id, refund.created));
                Self::list("/v1/refunds", all, &params, |id| self.refunds[id].document())
            }
            ["v1", "events", id] => {
                let found = self.events.iter().find(|event| event.id == id);
                found.map(Event::document).ok_or_else(|| Refused::missing("event", id))
            }
            ["v1", "events"] => self.list_events(&params),
            _ => Err(unknown(request)),
        }
    }

    fn list_events(&self, params: &Params) -> Result<Value, Refused> {
        let kinds = params.list("types");
        let kind = params.get("type");
        let listed = |event: &&Event| {
            self.now - event.created <= LISTED_SECONDS
                && kind.is_none_or(|kind| event.kind == kind)
                && (kinds.is_empty() || kinds.contains(&event.kind))
        };
        let mut all: Vec<&Event> = self.events.iter().filter(listed).collect();
        all.sort_by(|one, other| (other.created, &other.id).cmp(&(one.created, &one.id)));
        let entries = all.iter().map(|event| (&event.id, event.created));
        Self::list("/v1/events", entries, params, |id| {
            let found = all.iter().find(|event| event.id == id);
            found.map_or(Value::Null, |event| event.document())
        })
    }

    /// A page of what comes newest first.
    fn list<'a>(
        url: &str,
        all: impl Iterator<Item = (&'a String, i64)>,
        params: &Params,
        document: impl Fn(&str) -> Value,
    ) -> Result<Value, Refused> {
        let limit = params.integer("limit")?.unwrap_or(PAGE.0);
        let Some(limit) =
            usize::try_from(limit).ok().filter(|l| (1..=PAGE.1).contains(&limit) && *l > 0)
        else {
            return Err(Refused::invalid("parameter_invalid_integer", "limit", "Invalid limit"));
        };
        let from = params.integer("created[gte]")?.unwrap_or(i64::MIN);
        let until = params.integer("created[lte]")?.unwrap_or(i64::MAX);
        let mut ids: Vec<&String> =
            all.filter(|(_, at)| (from..=until).contains(at)).map(|(id, _)| id).collect();
        if let Some(after) = params.get("starting_after") {
            let Some(place) = ids.iter().position(|id| *id == after) else {
                return Err(Refused::missing("object", after));
            };
            ids.drain(..=place);
        }
        let documents = ids.into_iter().take(limit + 1).map(|id| document(id)).collect();
        Ok(page(url, documents, limit))
    }

    /// A browser may see and confirm the intent whose secret it has.
    fn shoppers(&self, id: &str, params: &Params) -> Result<(), Refused> {
        let intent = self.intent(id)?;
        let secret = intent.client_secret();
        if params.is("client_secret", &secret) {
            return Ok(());
        }
        Err(Refused::missing("payment_intent", id))
    }

    fn create_endpoint(&mut self, params: &Params) -> Result<Value, Refused> {
        params.only(&["url", "enabled_events", "description", "metadata"])?;
        let url = params.required("url")?.to_owned();
        let kinds = params.list("enabled_events");
        let id = self.id("we");
        let secret = format!("whsec_{}{}", self.name, self.last);
        let endpoint = Endpoint { id, url, secret, kinds };
        let document = endpoint.document(self.now);
        self.webhooks.endpoints.push(endpoint);
        Ok(document)
    }

    /// The next id of a kind.
    pub(crate) fn id(&mut self, kind: &str) -> String {
        self.last += 1;
        format!("{kind}_{}{:010}", self.name, self.last)
    }

    pub(crate) fn intent(&self, id: &str) -> Result<Intent, Refused> {
        self.intents.get(id).cloned().ok_or_else(|| Refused::missing("payment_intent", id))
    }

    pub(crate) fn intent_document(&self, id: &str, params: &Params) -> Value {
        let intent = &self.intents[id];
        let charge = intent.latest_charge.as_ref().filter(|_| params.expands("latest_charge"));
        intent.document(charge.map(|id| self.charges[id].document()))
    }

    pub(crate) fn put(&mut self, intent: Intent, kinds: &[&str]) {
        let document = intent.document(None);
        self.intents.insert(intent.id.clone(), intent);
        self.happened(kinds, &document);
    }

    pub(crate) fn put_charge(&mut self, charge: Charge, kinds: &[&str]) {
        let document = charge.document();
        self.charges.insert(charge.id.clone(), charge);
        self.happened(kinds, &document);
    }

    pub(crate) fn put_refund(&mut self, refund: Refund, kinds: &[&str]) {
        let document = refund.document();
        self.refunds.insert(refund.id.clone(), refund);
        self.happened(kinds, &document);
    }

    fn happened(&mut self, kinds: &[&str], object: &Value) {
        for kind in kinds {
            let event = Event {
                id: self.id("evt"),
                kind: (*kind).to_owned(),
                created: self.now,
                object: object.clone(),
                request_key: self.request_key.clone(),
            };
            self.webhooks.plan(&event, &mut self.chance);
            self.events.push(event);
        }
    }

    /// The next time at which something happens by itself.
    pub(crate) fn next(&self) -> Option<i64> {
        let intents = self.intents.values().filter_map(|intent| intent.due);
        let refunds = self.refunds.values().filter_map(|refund| refund.due.map(|due| due.0));
        intents.chain(refunds).chain(self.webhooks.next()).min()
    }

    /// What really is, for checkers.
    pub(crate) fn truth(&self) -> Value {
        let intent = |intent: &Intent| {
            let charges = self.charges.values().filter(|charge| charge.intent == intent.id);
            let (mut allowed, mut refunded) = (0, 0);
            for charge in charges.filter(|charge| charge.status == "succeeded") {
                (allowed, refunded) = (allowed + 1, refunded + charge.refunded);
            }
            json!({
                "id": intent.id, "key": intent.metadata.get("payment_id"),
                "status": intent.status.name(), "currency": intent.currency,
                "amount": intent.amount, "reserved": intent.capturable,
                "captured": intent.received, "refunded": refunded, "charges": allowed,
                "open": !matches!(intent.status, Status::Succeeded | Status::Canceled),
            })
        };
        let refund = |refund: &Refund| {
            json!({
                "id": refund.id, "key": refund.metadata.get("refund_id"),
                "payment_intent": refund.intent, "amount": refund.amount, "status": refund.status,
            })
        };
        json!({
            "payment_intents": self.intents.values().map(intent).collect::<Vec<_>>(),
            "refunds": self.refunds.values().map(refund).collect::<Vec<_>>(),
            "events": self.events.len(),
        })
    }
}

fn rate_limited() -> Reply {
    let error = json!({
        "type": "invalid_request_error", "code": "rate_limit", "message": "Too many requests",
    });
    Reply { retry_after: Some(1), ..Reply::new(429, json!({ "error": error })) }
}

fn server_error() -> Refused {
    let error = json!({ "type": "api_error", "message": "Something went wrong on our side." });
    Refused { status: 500, error, saved: true }
}

fn unknown(request: &Request<'_>) -> Refused {
    let error = json!({
        "type": "invalid_request_error",
        "message": format!("Unrecognized request URL ({}: {})", request.method, request.path),
    });
    Refused { status: 404, error, saved: false }
}
