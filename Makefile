# Run `make help` for what there is.
CARGO ?= cargo
PYTHON ?= python3

.PHONY: help setup build install install-built uninstall csharp-runtime demo demo-train bench test test-tools clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: ## fetch ONNX Runtime into target/onnxruntime, unless ORT_DYLIB_PATH names one
	@test -n "$$ORT_DYLIB_PATH" || $(PYTHON) tools/fetch_onnxruntime.py

build: ## both programs and the library, optimised
	$(CARGO) build --release

install: build install-built ## both programs, the library, headers, manual pages: PREFIX=/usr/local, DESTDIR=

install-built:
	packaging/install.sh install

uninstall: ## what `make install` put under PREFIX
	packaging/install.sh uninstall

csharp-runtime: build ## this machine's library into bindings/csharp/runtimes, for `dotnet pack`
	install -D -m 755 target/release/libinfusion.so \
		bindings/csharp/runtimes/linux-$(subst aarch64,arm64,$(subst x86_64,x64,$(shell uname -m)))/native/libinfusion.so

export PREFIX LIBDIR DESTDIR BUILD

DEMO = target/release/infusion generate --model models/demo --overwrite --guidance-scale 2 \
	--concept ball=models/concepts/two_tone_ball.safetensors

demo: setup build ## draw with and without a concept into target/demo
	@mkdir -p target/demo
	$(DEMO) "a photo of a <ball> in the snow" --seed 8 \
		-o target/demo/infused.png --foundation target/demo/foundation.png
	$(DEMO) "a photo of a <ball> in the snow" "a <ball> at night" "a large <ball> on the pavement" \
		--seed 4 --steps 25 -o target/demo/more.png --sheet target/demo/sheet.png

LEARN = target/release/infusion train --model models/demo --steps 500 --lr 0.02 --lr-scheduler cosine --batch 8 --timesteps 300..1000 --seed 1 --guidance-scale 2 --overwrite
CONCEPT = -i models/concepts/$(1) -o models/concepts/$(1).safetensors \
	--curve target/demo/$(1).curve.png --sheet target/demo/$(1).sheet.png

demo-train: setup build ## learn the demo's concepts again, from models/concepts/*/
	@mkdir -p target/demo
	$(LEARN) $(call CONCEPT,two_tone_ball) --class ball --prompt "a photo of a <ball> on the grass" \
		--validation-prompt "a photo of a <ball> in the snow" --validation-prompt "a photo of a <ball> at night"
	$(LEARN) $(call CONCEPT,red_roof_house) --class house --prompt "a photo of a <house> on the sand" \
		--validation-prompt "a photo of a <house> in the snow" --validation-prompt "a photo of a <house> at night"
	$(LEARN) $(call CONCEPT,iced_doughnut) --class doughnut --prompt "a photo of a <doughnut> in the snow" \
		--validation-prompt "a photo of a <doughnut> on the grass" --validation-prompt "a photo of a <doughnut> at night"

bench: setup build ## time and memory of every way of a guided step, on models/demo
	target/release/infusion bench --model models/demo

test-tools: ## what the tests of the C, C++ and C# bindings need, by apt-get where it is missing
	tools/install_test_tools.sh

test: setup ## every test
	$(CARGO) test

clean: ## remove everything that was built
	$(CARGO) clean
