-- Users, where they are signed in, what happened, and whose each conversation is.

CREATE TABLE users (
    number         INTEGER PRIMARY KEY,
    id             TEXT    NOT NULL UNIQUE,
    name           TEXT    NOT NULL,
    -- The name folded (NFKC, lower case): what two users can't share.
    name_key       TEXT    NOT NULL UNIQUE,
    email          TEXT,
    email_key      TEXT    UNIQUE,
    role           TEXT    NOT NULL CHECK (role IN ('user', 'operator', 'admin')),
    created_ms     INTEGER NOT NULL,
    disabled_ms    INTEGER,
    password_hash  TEXT,
    -- The key that seals what they write, under a master key of this generation.
    wrapped_key    BLOB    NOT NULL,
    key_generation INTEGER NOT NULL
) STRICT;

CREATE INDEX users_by_key_generation ON users (key_generation, number);
CREATE INDEX users_who_administer ON users (number) WHERE role = 'admin' AND disabled_ms IS NULL;

-- The id and the key that the first user will get: texts older than any user are sealed with it.
CREATE TABLE first_user (
    one            INTEGER PRIMARY KEY CHECK (one = 1),
    id             TEXT    NOT NULL,
    wrapped_key    BLOB    NOT NULL,
    key_generation INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    number     INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_ms INTEGER NOT NULL,
    seen_ms    INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    agent      TEXT    NOT NULL,
    address    TEXT    NOT NULL
) STRICT;

CREATE INDEX sessions_of_user ON sessions (user_id, seen_ms, number);
CREATE INDEX sessions_by_expiry ON sessions (expires_ms);

-- Until they would have expired. No reference to the user: they outlive one who is deleted.
CREATE TABLE revoked_sessions (
    id         TEXT    PRIMARY KEY,
    user_id    TEXT    NOT NULL,
    revoked_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX revoked_sessions_by_time ON revoked_sessions (revoked_ms, id);
CREATE INDEX revoked_sessions_by_expiry ON revoked_sessions (expires_ms);
CREATE INDEX revoked_sessions_of_user ON revoked_sessions (user_id, expires_ms);

-- No reference to the user either.
CREATE TABLE audit (
    number  INTEGER PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    user_id TEXT,
    event   TEXT    NOT NULL,
    address TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_of_user ON audit (user_id, number);

-- Null until there is a first user, who takes it.
ALTER TABLE conversations ADD COLUMN owner TEXT REFERENCES users (id) ON DELETE CASCADE;

DROP INDEX conversations_by_update;
CREATE INDEX conversations_of_owner ON conversations (owner, updated_ms DESC, id DESC);

-- Texts are sealed. The columns of before, title, system, content, reasoning and error, stay empty.
ALTER TABLE conversations ADD COLUMN title_sealed BLOB;
ALTER TABLE conversations ADD COLUMN system_sealed BLOB;
ALTER TABLE messages ADD COLUMN content_sealed BLOB;
ALTER TABLE messages ADD COLUMN reasoning_sealed BLOB;
ALTER TABLE messages ADD COLUMN error_sealed BLOB;

-- Work that SQL can't do and that the program does, once, when it opens the database next.
CREATE TABLE chores (
    name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

INSERT INTO chores SELECT 'seal texts' WHERE EXISTS (SELECT 1 FROM conversations);
