-- What users prove themselves with besides a password: one-time codes, recovery codes and passkeys.

CREATE TABLE one_time_codes (
    user_id         TEXT    PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    created_ms      INTEGER NOT NULL,
    secret_sealed   BLOB    NOT NULL,
    -- The last step of time whose code was taken: none is taken twice.
    step_sealed     BLOB    NOT NULL,
    -- Hashes of those that are left, one a line.
    recovery_sealed BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE passkeys (
    number        INTEGER PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    user_id       TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- What the authenticator calls it; no two users have the same.
    credential_id BLOB    NOT NULL UNIQUE,
    -- No secret: only the authenticator has the other half.
    public_key    BLOB    NOT NULL,
    sign_count    INTEGER NOT NULL,
    backup        TEXT    NOT NULL CHECK (backup IN ('never', 'possible', 'made')),
    transports    INTEGER NOT NULL,
    name_sealed   BLOB    NOT NULL,
    created_ms    INTEGER NOT NULL,
    used_ms       INTEGER
) STRICT;

CREATE INDEX passkeys_of_user ON passkeys (user_id, number);
