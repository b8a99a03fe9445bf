"""A base model with random weights and a tokenizer of bytes, made on the spot: for checks and tests.

It reads and writes any text, byte by byte, and knows nothing; adapters make it learn a little all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from node.files import private_directory, write_whole

END, START = "<|end|>", "<|start|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
SENTENCES = "The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs.\n"


@dataclass(frozen=True)
class Size:
    """The dimensions of a Llama; `vocabulary` rows of the embedding, of which the tokenizer uses 258."""

    hidden: int
    layers: int
    heads: int
    key_heads: int
    intermediate: int
    vocabulary: int
    context: int


TINY = Size(64, 2, 4, 2, 128, 320, 512)
# Those of SmolLM2-135M, so that speed and memory are its own.
SIZES = {"tiny": TINY, "135m": Size(576, 30, 9, 3, 1536, 49_152, 8_192)}


def random_base(folder: Path, size: Size = TINY, *, chat: bool = True, seed: int = 0) -> Path:
    """Writes the model and its tokenizer to `folder`, and returns it."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_heads,
        intermediate_size=size.intermediate,
        vocab_size=size.vocabulary,
        max_position_embeddings=size.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    _byte_tokenizer(chat).save_pretrained(folder)
    return folder


def random_member(folder: Path, base: Path, sentences: str = SENTENCES) -> Path:
    """Writes a member's data folder with some text and this base model, and returns it."""
    private_directory(folder)
    (folder / "base").symlink_to(base.absolute())
    write_whole(folder / "train.txt", (sentences * 40).encode())
    write_whole(folder / "held-out.txt", (sentences * 6).encode())
    return folder


def _byte_tokenizer(chat: bool) -> PreTrainedTokenizerFast:
    vocabulary = {END: 0, START: 1}
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[letter] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, additional_special_tokens=[START]
    )
    if chat:
        fast.chat_template = CHAT_TEMPLATE
    return fast
