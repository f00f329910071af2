-- The registration gate: how it moved, what an operator holds it at, and which invitations were used.

CREATE TABLE gate_moves (
    number     INTEGER PRIMARY KEY,
    at_ms      INTEGER NOT NULL,
    -- Words of the program's own.
    from_level TEXT    NOT NULL,
    to_level   TEXT    NOT NULL,
    -- Why, in JSON.
    reasons    TEXT    NOT NULL
) STRICT;

-- One row while it is pinned.
CREATE TABLE gate_pin (
    only  INTEGER PRIMARY KEY CHECK (only = 1),
    level TEXT    NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;

-- A row goes when the invitation can't be good any more.
CREATE TABLE used_invitations (
    id         BLOB    PRIMARY KEY,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX used_invitations_by_expiry ON used_invitations (expires_ms);

-- What an operator wrote about what they did.
ALTER TABLE audit ADD COLUMN note TEXT;
