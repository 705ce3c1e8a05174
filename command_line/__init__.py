"""The commands of `saddlescope`, one module each. A command imports JAX once its arguments are known to be right."""
