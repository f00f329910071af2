-- Whether an address is its user's, and where else users have an account with which they sign in.

-- When somebody who reads the letters to the address last showed it; null if nobody did.
ALTER TABLE users ADD COLUMN email_verified_ms INTEGER;

CREATE TABLE links (
    number     INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- What the settings called the provider when it was linked.
    provider   TEXT    NOT NULL,
    -- Who it is: settings may give another what they called it.
    issuer     TEXT    NOT NULL,
    -- What the provider knows the user as.
    subject    TEXT    NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (issuer, subject)
) STRICT;

CREATE INDEX links_of_user ON links (user_id, number);
