-- What each version of a definition looks like, as it was first seen.
CREATE TABLE saga_definition (
    definition INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    shape      TEXT NOT NULL,
    PRIMARY KEY (definition, version)
) WITHOUT ROWID;
