WITHOUT = "no CUDA GPU here: tests/gpu/README.md says how to run it on a machine that has one"
