"""One compile: import, pipeline, measurement, back ends, manifest; and what to do with chips."""
