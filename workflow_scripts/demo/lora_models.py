"""Demo: train the small pose model and the small segmenter of lora on drawn people, and say how good they are."""

from pathlib import Path

from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.models import file_sha256
from workflow_scripts.core.step import log, step
from workflow_scripts.demo import train_pose, train_segmenter

if job := globals().get("snakemake"):
    with step(job.log[0]):
        pose, segmenter = made = Path(job.output.pose), Path(job.output.segmenter)
        how = {"seed": job.params.seed, "threads": job.threads}
        found = {"pose": train_pose.train(pose, **how), "segmenter": train_segmenter.train(segmenter, **how)}
        write_json(Path(job.output.metrics), found)
        for path in made:
            log.info("to use it: copy %s over resources/demo/lora; sha256 %s", path, file_sha256(path))
