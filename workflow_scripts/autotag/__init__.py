"""The pipeline that tags folders of images from a large tagged collection."""
