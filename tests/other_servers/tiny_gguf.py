"""Makes a random model of 90,000 weights in the file given; run by a Python with gguf."""

import sys

import numpy
from gguf import GGUFWriter, TokenType

WIDTH, LAYERS, HEADS, CONTEXT = 64, 2, 4, 1024
WORDS = ["▁hello", "▁мир", "▁a", "▁stream", "▁`code`", "▁🌍", ".", ",", "\n"]
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"

chance = numpy.random.default_rng(7)
tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *WORDS]
kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
kinds += [TokenType.BYTE] * 256 + [TokenType.NORMAL] * len(WORDS)

writer = GGUFWriter(sys.argv[1], "llama")
writer.add_context_length(CONTEXT)
writer.add_embedding_length(WIDTH)
writer.add_block_count(LAYERS)
writer.add_feed_forward_length(WIDTH)
writer.add_head_count(HEADS)
writer.add_head_count_kv(HEADS)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_dimension_count(WIDTH // HEADS)
writer.add_vocab_size(len(tokens))
writer.add_tokenizer_model("llama")
writer.add_token_list([token.encode() for token in tokens])
writer.add_token_scores([0.0] * len(tokens))
writer.add_token_types(kinds)
writer.add_unk_token_id(0)
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
writer.add_chat_template(TEMPLATE)


def add_random(name: str, *shape: int) -> None:
    writer.add_tensor(name, chance.normal(0, 1, shape).astype(numpy.float32))


add_random("token_embd.weight", len(tokens), WIDTH)
add_random("output.weight", len(tokens), WIDTH)
writer.add_tensor("output_norm.weight", numpy.ones(WIDTH, numpy.float32))
for layer in range(LAYERS):
    for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        add_random(f"blk.{layer}.{part}.weight", WIDTH, WIDTH)
    for part in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.{layer}.{part}.weight", numpy.ones(WIDTH, numpy.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
