"""Hosts the roles of a design that one party plays: the matcher, a second one, or the provider."""
