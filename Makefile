# Run `make help` for what there is.
CARGO ?= cargo
PYTHON ?= python3

.PHONY: help setup build demo test clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: ## fetch ONNX Runtime into target/onnxruntime, unless ORT_DYLIB_PATH names one
	@test -n "$$ORT_DYLIB_PATH" || $(PYTHON) tools/fetch_onnxruntime.py

build: ## both programs and the library, optimised
	$(CARGO) build --release

DEMO = target/release/infusion generate --model models/demo --overwrite \
	--concept ball=models/concepts/two_tone_ball.safetensors

demo: setup build ## draw with and without a concept into target/demo
	@mkdir -p target/demo
	$(DEMO) "a photo of a <ball> in the snow" --seed 3 \
		-o target/demo/infused.png --foundation target/demo/foundation.png
	$(DEMO) "a photo of a <ball> on the sand" "a <ball> at night" "a large <ball> on the pavement" \
		--seed 1 --steps 25 -o target/demo/more.png --sheet target/demo/sheet.png

test: setup ## every test
	$(CARGO) test

clean: ## remove everything that was built
	$(CARGO) clean
