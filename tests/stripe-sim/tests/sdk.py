"""Stripe's official SDK against the simulator: is it a Stripe as far as Stripe's own client can tell?

Arguments: the simulator's address. Prints `ok` at the end; any difference is an AssertionError.
"""

import json
import sys
import urllib.request

import stripe

BASE = sys.argv[1]
client = stripe.StripeClient(
    "sk_test_sdk", base_addresses={"api": BASE}, max_network_retries=0
)
v1 = client.v1


def own(path, body):
    """One of the simulator's own addresses."""
    request = urllib.request.Request(
        BASE + path,
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def pay(method, key=None, **more):
    params = {
        "amount": 1299,
        "currency": "gbp",
        "confirm": True,
        "payment_method": method,
        "payment_method_options": {"card": {"capture_method": "manual"}},
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        "metadata": {"payment_id": "pay_1"},
        **more,
    }
    options = {"idempotency_key": key} if key else {}
    return v1.payment_intents.create(params, options)


def refused(kind, act):
    try:
        act()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected")


# Reserved, taken in part, sent back; and no more than that.
held = pay("pm_card_visa", expand=["latest_charge"])
assert (held.status, held.amount_capturable) == ("requires_capture", 1299)
assert held.metadata["payment_id"] == "pay_1"
assert held.latest_charge.payment_method_details.card.capture_before > held.created
taken = v1.payment_intents.capture(held.id, {"amount_to_capture": 1000})
assert (taken.status, taken.amount_received) == ("succeeded", 1000)
error = refused(stripe.InvalidRequestError, lambda: v1.payment_intents.capture(held.id))
assert (error.code, error.http_status) == ("payment_intent_unexpected_state", 400)
back = v1.refunds.create({"payment_intent": held.id, "amount": 400})
assert (back.status, back.amount) == ("succeeded", 400)
refused(
    stripe.InvalidRequestError,
    lambda: v1.refunds.create({"payment_intent": held.id, "amount": 601}),
)
assert [one.id for one in v1.refunds.list({"payment_intent": held.id})] == [back.id]

# Refusals.
error = refused(
    stripe.CardError, lambda: pay("pm_card_visa_chargeDeclinedInsufficientFunds")
)
assert (error.code, error.error.decline_code) == ("card_declined", "insufficient_funds")
assert error.error.payment_intent.status == "requires_payment_method"
error = refused(stripe.InvalidRequestError, lambda: pay("pm_card_visa", amount=1))
assert (error.code, error.param) == ("amount_too_small", "amount")
refused(stripe.InvalidRequestError, lambda: v1.payment_intents.retrieve("pi_none"))
stranger = stripe.StripeClient("sk_live_x", base_addresses={"api": BASE})
refused(stripe.AuthenticationError, lambda: stranger.v1.payment_intents.list())

# 3-D Secure, a cancellation, a bank debit.
asked = pay("pm_card_authenticationRequired")
assert (asked.status, asked.next_action.type) == ("requires_action", "use_stripe_sdk")
assert own("/_authenticate", {"payment_intent": asked.id, "passes": True})["done"]
assert v1.payment_intents.retrieve(asked.id).status == "requires_capture"
gone = v1.payment_intents.cancel(asked.id, {"cancellation_reason": "abandoned"})
assert (gone.status, gone.cancellation_reason) == ("canceled", "abandoned")
assert pay("pm_usBankAccount_success").status == "processing"

# The same key: the same answer, and no second object; other parameters: an error.
first = pay("pm_card_visa", key="once")
again = pay("pm_card_visa", key="once")
assert first.id == again.id
assert again.last_response.headers["idempotent-replayed"] == "true"
refused(stripe.IdempotencyError, lambda: pay("pm_card_visa", key="once", amount=1300))
refused(
    stripe.CardError, lambda: pay("pm_card_visa_chargeDeclined", key="declined")
)
refused(
    stripe.CardError, lambda: pay("pm_card_visa_chargeDeclined", key="declined")
)

# Faults look like Stripe's.
own("/_faults", {"rate_limited": 1000})
refused(stripe.RateLimitError, lambda: v1.payment_intents.list())
own("/_faults", {"saved_error_after": 1000})
refused(stripe.APIError, lambda: pay("pm_card_visa", key="broken"))
own("/_faults", {})
error = refused(stripe.APIError, lambda: pay("pm_card_visa", key="broken"))
assert error.http_status == 500
own("/_faults", {"reply_lost": 1000})
refused(stripe.APIConnectionError, lambda: pay("pm_card_visa", key="lost"))
own("/_faults", {})

# Lists in pages, and events.
ids = [one.id for one in v1.payment_intents.list({"limit": 2}).auto_paging_iter()]
assert len(ids) == len(set(ids)) == 8 and ids[-1] == held.id
kinds = {one.type for one in v1.events.list({"limit": 100})}
assert {"payment_intent.succeeded", "charge.refunded", "refund.created"} <= kinds
only = v1.events.list({"types": ["payment_intent.canceled"]})
assert [one.data.object["id"] for one in only] == [gone.id]

# Webhooks: Stripe's own check takes our signature, and no changed byte.
endpoint = v1.webhook_endpoints.create(
    {"url": sys.argv[2], "enabled_events": ["payment_intent.canceled"]}
)
v1.payment_intents.cancel(first.id)
own("/_deliver", {})
for line in sys.stdin:
    delivery = json.loads(line)
    body, signature = delivery["body"], delivery["signature"]
    event = stripe.Webhook.construct_event(body, signature, endpoint.secret)
    assert (event.type, event.data.object["id"]) == ("payment_intent.canceled", first.id)
    refused(
        stripe.SignatureVerificationError,
        lambda: stripe.Webhook.construct_event(body + " ", signature, endpoint.secret),
    )
    print("ok", flush=True)
    break
