//! The tables of the service itself, beside those of the saga engine and the outbox.

/// Postgres. Run under an advisory lock; every statement can run again.
pub(super) const POSTGRES: &str = "
CREATE TABLE IF NOT EXISTS orders (
    id            text PRIMARY KEY,
    client_id     text NOT NULL,
    priority      text NOT NULL,
    status        text NOT NULL,
    stage         text NOT NULL,
    attention     boolean NOT NULL DEFAULT false,
    cms_step      text NOT NULL,
    wms_step      text NOT NULL,
    ros_step      text NOT NULL,
    cms           text,
    wms           text,
    ros           text,
    failure       text,
    last_sequence bigint NOT NULL,
    version       bigint NOT NULL,
    created_us    bigint NOT NULL,
    updated_us    bigint NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS orders_newest ON orders (created_us DESC, id DESC);
CREATE INDEX IF NOT EXISTS orders_of_client ON orders (client_id, created_us DESC, id DESC);
CREATE TABLE IF NOT EXISTS packages (
    order_id    text NOT NULL,
    line        integer NOT NULL,
    sku         text NOT NULL,
    description text,
    quantity    bigint NOT NULL,
    priority    text NOT NULL,
    PRIMARY KEY (order_id, line)
);
CREATE TABLE IF NOT EXISTS delivery_addresses (
    order_id text NOT NULL,
    stop     integer NOT NULL,
    address  text NOT NULL,
    PRIMARY KEY (order_id, stop)
);
CREATE TABLE IF NOT EXISTS order_events (
    order_id   text NOT NULL,
    sequence   bigint NOT NULL,
    envelope   text NOT NULL,
    position   bigint GENERATED ALWAYS AS IDENTITY,
    xid        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (order_id, sequence)
);
CREATE INDEX IF NOT EXISTS order_events_feed ON order_events (xid, position);
CREATE TABLE IF NOT EXISTS idempotency_keys (
    client_id   text NOT NULL,
    key         text NOT NULL,
    fingerprint text NOT NULL,
    order_id    text NOT NULL,
    created_us  bigint NOT NULL,
    PRIMARY KEY (client_id, key)
);
CREATE INDEX IF NOT EXISTS idempotency_keys_age ON idempotency_keys (created_us);
CREATE TABLE IF NOT EXISTS service_control (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service text NOT NULL,
    verb    text NOT NULL,
    at_us   bigint NOT NULL
);
";

/// SQLite. `AUTOINCREMENT`, since a cursor must never meet a number twice.
pub(super) const SQLITE: &str = "
CREATE TABLE IF NOT EXISTS orders (
    id            text PRIMARY KEY,
    client_id     text NOT NULL,
    priority      text NOT NULL,
    status        text NOT NULL,
    stage         text NOT NULL,
    attention     boolean NOT NULL DEFAULT false,
    cms_step      text NOT NULL,
    wms_step      text NOT NULL,
    ros_step      text NOT NULL,
    cms           text,
    wms           text,
    ros           text,
    failure       text,
    last_sequence integer NOT NULL,
    version       integer NOT NULL,
    created_us    integer NOT NULL,
    updated_us    integer NOT NULL
);
CREATE INDEX IF NOT EXISTS orders_newest ON orders (created_us DESC, id DESC);
CREATE INDEX IF NOT EXISTS orders_of_client ON orders (client_id, created_us DESC, id DESC);
CREATE TABLE IF NOT EXISTS packages (
    order_id    text NOT NULL,
    line        integer NOT NULL,
    sku         text NOT NULL,
    description text,
    quantity    integer NOT NULL,
    priority    text NOT NULL,
    PRIMARY KEY (order_id, line)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS delivery_addresses (
    order_id text NOT NULL,
    stop     integer NOT NULL,
    address  text NOT NULL,
    PRIMARY KEY (order_id, stop)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS order_events (
    position   integer PRIMARY KEY AUTOINCREMENT,
    order_id   text NOT NULL,
    sequence   integer NOT NULL,
    envelope   text NOT NULL,
    UNIQUE (order_id, sequence)
);
CREATE TABLE IF NOT EXISTS idempotency_keys (
    client_id   text NOT NULL,
    key         text NOT NULL,
    fingerprint text NOT NULL,
    order_id    text NOT NULL,
    created_us  integer NOT NULL,
    PRIMARY KEY (client_id, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idempotency_keys_age ON idempotency_keys (created_us);
CREATE TABLE IF NOT EXISTS service_control (
    id      integer PRIMARY KEY AUTOINCREMENT,
    service text NOT NULL,
    verb    text NOT NULL,
    at_us   integer NOT NULL
);
";
