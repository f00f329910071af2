-- Links of letters that have made an account, by a fingerprint of the address that they went to: none makes a second
-- one, also after the first is deleted. A row goes when no such link can be good any more.
CREATE TABLE used_sign_ups (
    address    BLOB    PRIMARY KEY,
    -- Links sent up to then, in Unix milliseconds, do nothing any more.
    used_ms    INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX used_sign_ups_by_expiry ON used_sign_ups (expires_ms);
