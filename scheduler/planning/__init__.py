"""Plan the work of a laboratory: a problem in, a checked plan out. No database, no clock, no Django."""
