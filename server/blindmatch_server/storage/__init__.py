"""Files and databases of servers: whole or not at all."""
