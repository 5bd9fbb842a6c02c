-- The ledger of transactions: everything that was asked of a payment provider about money, and what
-- came of it. A read model of `projections/src/payment.rs`.
CREATE TABLE read.transactions (
    store_id       uuid        NOT NULL,
    transaction_id uuid        NOT NULL,
    payment_id     uuid        NOT NULL,
    checkout_id    uuid        NOT NULL,
    kind           text        COLLATE "C" NOT NULL CHECK (kind IN
        ('authorisation', 'capture', 'sale', 'refund', 'void')),
    status         text        COLLATE "C" NOT NULL CHECK (status IN ('pending', 'success', 'failure')),
    provider       text        NOT NULL,
    reference      text,
    amount_minor   bigint      NOT NULL,
    currency       text        COLLATE "C" NOT NULL,
    code           text,
    requested_at   timestamptz NOT NULL,
    settled_at     timestamptz,
    version        bigint      NOT NULL,
    PRIMARY KEY (store_id, transaction_id)
);
CREATE INDEX transactions_newest ON read.transactions (store_id, requested_at DESC, transaction_id DESC);
CREATE INDEX transactions_by_checkout ON read.transactions (store_id, checkout_id, requested_at, transaction_id);
CREATE INDEX transactions_by_payment ON read.transactions (store_id, payment_id);
COMMENT ON TABLE read.transactions IS 'What was asked of payment providers about money, and what came of it.';
COMMENT ON COLUMN read.transactions.transaction_id IS 'Of an authorisation or a sale the payment, of a refund the refund; else derived of the payment.';
COMMENT ON COLUMN read.transactions.kind IS 'sale: taken at once, without an authorisation before.';
COMMENT ON COLUMN read.transactions.reference IS 'The provider''s name of the payment, or of the refund.';
COMMENT ON COLUMN read.transactions.code IS 'The provider''s code of a failure.';
COMMENT ON COLUMN read.transactions.requested_at IS 'Business time.';
COMMENT ON COLUMN read.transactions.settled_at IS 'Business time of the success or the final failure.';
COMMENT ON COLUMN read.transactions.version IS 'Version of the payment when it last changed.';

CREATE TABLE read.transaction_orders (
    store_id    uuid NOT NULL,
    order_id    uuid NOT NULL,
    checkout_id uuid NOT NULL,
    PRIMARY KEY (store_id, order_id)
);
COMMENT ON TABLE read.transaction_orders IS 'Which order came from which checkout; joins transactions.checkout_id.';

SELECT read.protect('read', name) FROM unnest(ARRAY['transactions', 'transaction_orders']) AS name;
