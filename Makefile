# Each target is one line that can be run by hand; the environment is made by the first call.
#   EXTRA=gpu make …   takes the builds of FAISS and ONNX Runtime for GPUs
EXTRA ?= cpu
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
BIN := .venv/bin

.PHONY: demo demo-s3 test lab lint fmt bench bench-predict bench-retrieval bench-lora bench-autotag bench-slurm bench-s3 clean

demo: .venv/ready
	$(BIN)/snakemake demo_data && $(BIN)/snakemake demo --configfile config/demo.yaml && cat results/demo/*.txt

demo-s3: .venv/ready
	$(BIN)/snakemake demo_data && $(BIN)/python -m workflow_scripts.demo.local_s3 demo_data/people/images $(BIN)/snakemake results/demo-s3/people.txt people_verify --configfile config/demo.yaml config/demo_s3.yaml && cat results/demo-s3/*.txt

test: .venv/ready
	$(BIN)/pytest -n 2 --dist loadfile

lab: .lab/ready

lint: .venv/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/snakefmt --check Snakefile rules && $(BIN)/python -m workflow_scripts.settings.generate --check && $(BIN)/snakemake --lint --configfile config/demo.yaml

fmt: .venv/ready
	$(BIN)/ruff check --fix . && $(BIN)/ruff format . && $(BIN)/snakefmt Snakefile rules && $(BIN)/python -m workflow_scripts.settings.generate

bench: .venv/ready
	$(BIN)/python -m tests.bench.embed

bench-predict: .venv/ready
	$(BIN)/python -m tests.bench.predict

bench-retrieval: .venv/ready
	$(BIN)/python -m tests.bench.retrieval && $(BIN)/python -m tests.bench.subset

bench-lora: .venv/ready
	$(BIN)/python -m tests.bench.lora

bench-autotag: .venv/ready
	$(BIN)/python -m tests.bench.autotag_index --shards 50 --factory IVF1024,PQ64x8np

bench-slurm: .venv/ready
	$(BIN)/python -m tests.bench.slurm

bench-s3: .venv/ready .lab/ready
	$(BIN)/python -m tests.bench.s3

clean:
	rm -rf .snakemake results cache demo_data logs benchmarks .pytest_cache .mypy_cache .ruff_cache

.venv/ready: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --extra $(EXTRA) && $(BIN)/python -c "import pymatting" && touch $@

.lab/ready: pyproject.toml uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=.lab $(UV) sync --frozen --only-group lab && touch $@

# Without venv (as on slim machines) pip puts it into a folder of its own, which an externally managed Python allows.
.uv/bin/uv:
	{ python3 -m venv .uv && .uv/bin/pip install -q uv; } || python3 -m pip install -q --target .uv uv || { echo "Cannot fetch uv: install it, or your system's packages for Python venv or pip, and try again."; exit 1; }
