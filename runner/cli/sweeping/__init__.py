"""What a sweep and its jobs are known by, so that they can go on."""
