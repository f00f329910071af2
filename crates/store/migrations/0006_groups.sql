-- Groups: which models their members may use and how much, and how many answers users asked for of late.

CREATE TABLE user_groups (
    number            INTEGER PRIMARY KEY,
    id                TEXT    NOT NULL UNIQUE,
    name              TEXT    NOT NULL,
    -- Folded as names of users are.
    name_key          TEXT    NOT NULL UNIQUE,
    -- Whether its members may use every model; if not, those in `group_models`.
    all_models        INTEGER NOT NULL CHECK (all_models IN (0, 1)),
    -- Null: no limit.
    answers_at_once   INTEGER,
    messages_per_day  INTEGER,
    output_tokens_max INTEGER
) STRICT;

CREATE TABLE group_models (
    group_id TEXT NOT NULL REFERENCES user_groups (id) ON DELETE CASCADE,
    model    TEXT NOT NULL,
    PRIMARY KEY (group_id, model)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_members (
    user_id  TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    group_id TEXT NOT NULL REFERENCES user_groups (id) ON DELETE CASCADE,
    PRIMARY KEY (user_id, group_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX group_members_of_group ON group_members (group_id);

-- Everybody is in this one, without a row that says so.
INSERT INTO user_groups (id, name, name_key, all_models)
VALUES ('00000000-0000-0000-0000-000000000000', 'everyone', 'everyone', 1);

-- Answers by the hour in which they were asked for. They count whether their conversations are still there or not;
-- hours that are over for good are removed, so that a user has some 25 rows at most.
CREATE TABLE answers_asked (
    user_id TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- Unix hours.
    hour    INTEGER NOT NULL,
    answers INTEGER NOT NULL,
    PRIMARY KEY (user_id, hour)
) STRICT, WITHOUT ROWID;

-- The operator who did what an entry is about, where it was not the user's own doing.
ALTER TABLE audit ADD COLUMN by_id TEXT;
