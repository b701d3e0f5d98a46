"""Makes a random model of 90,000 weights in the directory given; run by a Python with transformers."""

import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    set_seed,
)

BEGIN, END, WORDS = 0, 1, 40
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"

target = sys.argv[1]
set_seed(7)
signs = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
tokenizer = Tokenizer(models.BPE({sign: number for number, sign in enumerate(signs)}, []))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
chatty = PreTrainedTokenizerFast(
    tokenizer_object=tokenizer, bos_token=signs[BEGIN], eos_token=signs[END]
)
chatty.chat_template = TEMPLATE
chatty.save_pretrained(target)
model = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=len(signs),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=2048,
        bos_token_id=BEGIN,
        eos_token_id=END,
    )
)
model.generation_config = GenerationConfig(
    max_new_tokens=WORDS, bos_token_id=BEGIN, eos_token_id=END, pad_token_id=END
)
model.save_pretrained(target)
