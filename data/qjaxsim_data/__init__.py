"""Published tables, as data with their source."""
