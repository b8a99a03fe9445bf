"""The built-in task for language models: LoRA adapters on a 4-bit base, trained on private text (QLoRA).

Only the adapters leave the machine. The libraries below would ask a model hub for files and news of a model
that lies on this disk: from here on they may not, whatever the environment says.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# The thread count of a learner is its operator's choice; the tokenizer's own pool would ignore it.
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Bars for a terminal would push a worker's last words out of what the node keeps of them.
os.environ["TQDM_DISABLE"] = "1"
