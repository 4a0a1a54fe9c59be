//! Stand-ins for the three partners of the order service, with ledgers and faults.
