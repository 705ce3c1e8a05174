"""What computes the cells of a sweep: this process, others on this machine, or a cluster's. Imports nothing of ours."""
