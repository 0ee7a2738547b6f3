"""The GPU part of the benches, beside what it measures; the other parts are in `bench/`."""
