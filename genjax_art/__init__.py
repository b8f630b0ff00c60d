"""GANs and VAEs for pictures and music as pure JAX functions."""
