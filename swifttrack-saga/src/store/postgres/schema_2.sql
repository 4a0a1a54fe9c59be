-- What each version of a definition looks like, as it was first seen.
CREATE TABLE saga_definition (
    definition int NOT NULL,
    version    int NOT NULL,
    shape      text NOT NULL,
    PRIMARY KEY (definition, version)
);
