"""context.json: nothing secret in it, and nothing useful left out."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.record.environment import MASK, describe_run, is_secret, masked, masked_command, plain, versions

SECRETS = [
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "--api-key", "--api_key", "api_key", "apiKey", "--apikey",
    "AWS_SECRET_ACCESS_KEY", "password", "passwd", "ssl-key", "Authorization-Auth", "client_secret", "credentials",
]  # fmt: skip
HARMLESS = [
    "max_num_batched_tokens", "tokenizer", "--tokenizer-mode", "max_tokens", "VLLM_ATTENTION_BACKEND", "passes",
    "compile_sizes", "--served-model-name", "monkey", "TORCHINDUCTOR_CACHE_DIR", "authorship",
]  # fmt: skip


class TestNames:
    @pytest.mark.parametrize("name", SECRETS)
    def test_of_secrets(self, name: str) -> None:
        assert is_secret(name)

    @pytest.mark.parametrize("name", HARMLESS)
    def test_that_only_look_alike(self, name: str) -> None:
        assert not is_secret(name)


class TestCommandLine:
    def test_both_forms_of_an_option(self) -> None:
        command = ["serve.py", "--api-key", "abc", "--hf-token=xyz", "--max-num-batched-tokens", "512"]
        shown = ["serve.py", "--api-key", MASK, f"--hf-token={MASK}", "--max-num-batched-tokens", "512"]
        assert masked_command(command) == shown

    def test_an_option_without_a_value_hides_no_other(self) -> None:
        assert masked_command(["x", "--auth", "--model", "m"]) == ["x", "--auth", "--model", "m"]

    def test_an_option_with_several_values(self) -> None:
        command = ["serve", "--api-key", "abc", "def", "--port", "80"]
        assert masked_command(command) == ["serve", "--api-key", MASK, MASK, "--port", "80"]

    def test_a_value_with_an_equals_sign(self) -> None:
        assert masked_command(["x", "--api-key", "a=b"]) == ["x", "--api-key", MASK]
        assert masked_command(["x", "--api-key=a=b"]) == ["x", f"--api-key={MASK}"]

    def test_a_value_that_begins_with_a_dash(self) -> None:
        assert "-secret" not in masked_command(["x", "--api-key", "-secret"])

    def test_an_assignment_on_the_command_line(self) -> None:
        assert masked_command(["env", "HF_TOKEN=abc", "python"]) == ["env", f"HF_TOKEN={MASK}", "python"]

    @given(
        st.sampled_from(["--api-key", "--hf-token", "--password"]),
        st.text(min_size=3, alphabet="XYZ-=._").filter(lambda text: text[:2] != "--"),
    )
    def test_no_value_gets_through(self, option: str, value: str) -> None:
        assert value not in " ".join(masked_command(["x", f"{option}={value}", "y"]))
        assert value not in " ".join(masked_command(["x", option, value, "y"]))

    @given(st.lists(st.text()))
    def test_nothing_is_lost_or_added(self, command: list[str]) -> None:
        assert len(masked_command(command)) == len(command)


class TestValues:
    def test_nested(self) -> None:
        config = {
            "model": {"hf_token": "abc", "tokenizer": "t", "token": None},
            "servers": [{"apiKey": "abc"}, {"port": 80}],
            "api_key": ["abc", "def"],
            "max_num_batched_tokens": 512,
        }
        shown = masked(config)
        assert "abc" not in json.dumps(shown)
        assert "def" not in json.dumps(shown)
        assert shown["model"]["tokenizer"] == "t"
        assert shown["servers"][1] == {"port": 80}
        assert shown["max_num_batched_tokens"] == 512

    @pytest.mark.parametrize("value", ["abc", ["abc"], {"value": "abc"}, [{"value": ("abc",)}]])
    def test_whatever_form_a_secret_has(self, value: Any) -> None:
        assert "abc" not in json.dumps(masked({"api_key": value}))

    def test_a_number_is_no_secret(self) -> None:
        assert masked({"eos_token_id": 2, "trust_key": True}) == {"eos_token_id": 2, "trust_key": True}

    def test_an_empty_secret_is_shown_empty(self) -> None:
        assert masked({"HF_TOKEN": ""}) == {"HF_TOKEN": ""}

    def test_what_is_no_json_becomes_text(self) -> None:
        assert masked({"dtype": torch.bfloat16, "sizes": {3}}) == {"dtype": "torch.bfloat16", "sizes": [3]}


class Level(Enum):
    FULL = 3


@dataclass
class Inner:
    level: Level = Level.FULL
    _private: str = "not shown"
    missing: Any = field(init=False)


class Transformers:
    def to_diff_dict(self) -> dict[str, Any]:
        return {"hidden_size": 256}


class TestPlain:
    def test_configuration_objects(self) -> None:
        found = plain({"a": Inner(), "b": Transformers(), "c": (1, torch.float16), 4: None})
        inner = {"level": "FULL", "missing": None}
        assert found == {"a": inner, "b": {"hidden_size": 256}, "c": [1, "torch.float16"], "4": None}

    def test_a_ring_ends(self) -> None:
        ring: dict[str, Any] = {}
        ring["ring"] = ring
        json.dumps(plain(ring))


class TestRun:
    @pytest.fixture
    def described(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        monkeypatch.setenv("HF_TOKEN", "very-secret-1")
        monkeypatch.setenv("VLLM_API_KEY", "very-secret-2")
        monkeypatch.setenv("VLLM_USE_V1", "1")
        monkeypatch.setenv("UNRELATED", "noise")
        monkeypatch.setattr(sys, "argv", ["serve.py", "--api-key", "very-secret-3", "--port", "80"])
        return describe_run({"token": "very-secret-4", "dtype": torch.float16})

    def test_no_secret_is_in_it(self, described: dict[str, Any]) -> None:
        assert "very-secret" not in json.dumps(described)

    def test_what_is_in_it(self, described: dict[str, Any]) -> None:
        assert described["versions"]["torch"] == torch.__version__
        assert described["command_line"][1:] == ["serve.py", "--api-key", MASK, "--port", "80"]
        assert described["environment"]["VLLM_USE_V1"] == "1"
        assert described["environment"]["VLLM_API_KEY"] == MASK
        assert "UNRELATED" not in described["environment"]
        assert described["configuration"] == {"token": MASK, "dtype": "torch.float16"}

    def test_versions_name_only_what_is_installed(self) -> None:
        assert {"python", "torch", "cutaway"} <= versions().keys()
