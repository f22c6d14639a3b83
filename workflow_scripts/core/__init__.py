"""What all pipelines share: images, models, vectors, storage, accounting. Knows no pipeline."""
