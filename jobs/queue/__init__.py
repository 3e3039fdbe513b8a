"""What is to be done: kept in the database, carried by Redis."""
