"""The model card: what the student is, what it learned from and how it did, all from the run."""

from typing import Any

CARD = """---
library_name: transformers
pipeline_tag: text-classification
tags: [product-categorization, distillation]
---

# Student: shop offers into {classes} categories

A `BertForSequenceClassification` of {layers} layers and {parameters:,} parameters ({vocabulary:,} token pieces),
distilled from a teacher's soft labels. It reads {inputs}, at most {max_tokens} tokens, with no prompt in front.

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
model = AutoModelForSequenceClassification.from_pretrained(FOLDER)
logits = model(**tokenizer(["an offer's title"], padding=True, truncation=True, return_tensors="pt")).logits
```

The head has {head_width} outputs; {unused} of them are named `unused-N`, have a bias that gives them no probability,
and wait for new categories. Divide the logits by the temperature of the offer's country in
`calibration.json` before the softmax.

## Training

{origin} {offers:,} offers, {labelled_offers:,} of them labelled by shops, from {countries};
{epochs} epochs; the teacher's opinion outweighed {overruled_labels:,} labels.
Mean loss by epoch: {losses}.

## Validation

{validation_offers:,} labelled offers that were not trained on. Labels are the shops' own and may be wrong.

| | accuracy | macro-F1 |
|---|---|---|
| student | {accuracy:.4f} | {macro_f1:.4f} |
| teacher | {teacher_accuracy:.4f} | {teacher_macro_f1:.4f} |

Agreement with the teacher {teacher_agreement:.4f}; expected calibration error {calibration_error_before:.4f} before the
temperatures, {calibration_error_after:.4f} after.
"""


def write_card(facts: dict[str, Any]) -> str:
    """The card's text. `facts` is the content of student.json."""
    return CARD.format(
        **facts
        | {
            "countries": ", ".join(facts["countries"]),
            "inputs": " and ".join(facts["inputs"]),
            "unused": facts["head_width"] - facts["classes"],
            "origin": "Went on from an earlier student:"
            if facts["started_from"]
            else "Started from the encoder's layers:",
            "epochs": len(facts["losses"]),
            "losses": ", ".join(f"{loss:.4f}" for loss in facts["losses"]),
        }
    )
