"""Object stores that speak S3 on this machine, and a proxy that makes them misbehave: what tests of S3 run against."""
