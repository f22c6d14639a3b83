"""The `lora` pipeline: videos to a captioned training set, with a person in the loop."""
