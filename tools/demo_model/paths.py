"""Where the build keeps what it makes: checkpoints, caches and logs outside git, the finished model inside."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
WORK = REPOSITORY / "target" / "demo-model"
MODEL = REPOSITORY / "models" / "demo"
CONCEPTS = REPOSITORY / "models" / "concepts"
