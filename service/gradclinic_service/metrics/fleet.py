"""What all replicas and workers share, read from Redis at scrape time: nothing of it is counted in this process."""
