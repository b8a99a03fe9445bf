"""The TLA+ specification, shipped as data: modules here, models in `models/`."""
