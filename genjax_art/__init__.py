"""GANs and VAEs for pictures, music and video as pure JAX functions."""
