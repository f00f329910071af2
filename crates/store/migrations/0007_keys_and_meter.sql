-- Keys with which programs ask, what users have to pay with, and what requests took. Amounts are in 1e-9 of the
-- currency's unit.

CREATE TABLE api_keys (
    number           INTEGER PRIMARY KEY,
    id               TEXT    NOT NULL UNIQUE,
    user_id          TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- SHA-256 of the secret part.
    hash             BLOB    NOT NULL UNIQUE,
    -- The first characters of the key.
    start            TEXT    NOT NULL,
    name_sealed      BLOB    NOT NULL,
    created_ms       INTEGER NOT NULL,
    -- Null: never.
    expires_ms       INTEGER,
    used_ms          INTEGER,
    spent            INTEGER NOT NULL CHECK (spent >= 0),
    -- Null: no limit. Lists have one name a line.
    models           TEXT,
    spend_max        INTEGER,
    addresses        TEXT    NOT NULL,
    requests_at_once INTEGER,
    requests_per_day INTEGER,
    tokens_per_day   INTEGER
) STRICT;

CREATE INDEX api_keys_of_user ON api_keys (user_id, number);

-- Until they would have expired. No reference to the user: they outlive one who is deleted.
CREATE TABLE revoked_keys (
    number     INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL,
    revoked_ms INTEGER NOT NULL,
    expires_ms INTEGER
) STRICT;

CREATE INDEX revoked_keys_by_time ON revoked_keys (revoked_ms, number);
CREATE INDEX revoked_keys_by_expiry ON revoked_keys (expires_ms);

-- Of who has ever had something.
CREATE TABLE balances (
    user_id   TEXT    PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    granted   INTEGER NOT NULL CHECK (granted >= 0),
    topped_up INTEGER NOT NULL CHECK (topped_up >= 0)
) STRICT, WITHOUT ROWID;

-- What users got and lost, but for what requests cost.
CREATE TABLE credits (
    number      INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    user_id     TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind        TEXT    NOT NULL CHECK (kind IN ('grant', 'top_up')),
    amount      INTEGER NOT NULL,
    by_id       TEXT,
    note_sealed BLOB    NOT NULL,
    at_ms       INTEGER NOT NULL
) STRICT;

CREATE INDEX credits_of_user ON credits (user_id, number);

-- For requests that go on. Those of a process that died are removed when the database is opened.
CREATE TABLE holds (
    id         TEXT    PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- No reference: a key may be revoked while a request with it goes on.
    key_id     TEXT,
    amount     INTEGER NOT NULL CHECK (amount >= 0),
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX holds_of_user ON holds (user_id, amount);
CREATE INDEX holds_of_key ON holds (key_id, amount) WHERE key_id IS NOT NULL;

-- One row a request.
CREATE TABLE usage (
    number    INTEGER PRIMARY KEY,
    id        TEXT    NOT NULL UNIQUE,
    at_ms     INTEGER NOT NULL,
    -- Null for who has no account, or none any more; the key goes with the user.
    user_id   TEXT    REFERENCES users (id) ON DELETE SET NULL,
    key_id    TEXT,
    endpoint  TEXT    NOT NULL,
    model     TEXT    NOT NULL,
    class     TEXT    NOT NULL,
    -- Tokens: of the prompt, in the prefix cache and not; generated; of those, reasoning.
    hit       INTEGER NOT NULL,
    miss      INTEGER NOT NULL,
    output    INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cost      INTEGER NOT NULL CHECK (cost >= 0),
    queued_ms INTEGER NOT NULL,
    ttft_ms   INTEGER,
    total_ms  INTEGER NOT NULL,
    outcome   TEXT    NOT NULL
) STRICT;

CREATE INDEX usage_by_time ON usage (at_ms);
CREATE INDEX usage_of_user ON usage (user_id, at_ms) WHERE user_id IS NOT NULL;
CREATE INDEX usage_of_key ON usage (key_id, at_ms) WHERE key_id IS NOT NULL;

-- Sums over the rows, by quarters of an hour since 1970: hours and days begin with one everywhere in the world. They
-- are kept when rows are pruned. Of users:
CREATE TABLE usage_of_users (
    user_id   TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    quarter   INTEGER NOT NULL,
    model     TEXT    NOT NULL,
    -- Empty: without one.
    key_id    TEXT    NOT NULL,
    requests  INTEGER NOT NULL,
    hit       INTEGER NOT NULL,
    miss      INTEGER NOT NULL,
    output    INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cost      INTEGER NOT NULL,
    PRIMARY KEY (user_id, quarter, model, key_id)
) STRICT, WITHOUT ROWID;

-- And of all, those included who have no account or none any more.
CREATE TABLE usage_of_all (
    quarter   INTEGER NOT NULL,
    model     TEXT    NOT NULL,
    requests  INTEGER NOT NULL,
    hit       INTEGER NOT NULL,
    miss      INTEGER NOT NULL,
    output    INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cost      INTEGER NOT NULL,
    PRIMARY KEY (quarter, model)
) STRICT, WITHOUT ROWID;
