"""Run by an environment that has `adapters`: outputs of a base model with an adapter folder, as JSON."""

import json
import sys

import adapters
import torch
import transformers

base, folder, model_class, tokens = sys.argv[1:5]
model = getattr(transformers, model_class).from_pretrained(base).eval()
adapters.init(model)
if folder != "-":
    model.load_adapter(folder, use_safetensors=True, set_active=True)
ids = torch.tensor(json.loads(tokens))
with torch.no_grad():
    made = model(input_ids=ids, attention_mask=torch.ones_like(ids))
print(json.dumps((made.logits if "logits" in made else made.last_hidden_state).tolist()))
