"""The parts of the facade, by topic; `tracker` puts them together."""
