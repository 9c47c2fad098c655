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
and wait for new categories. For probabilities that are right as often as they say, take the other outputs' logits,
multiply them by 1 + s log(h), where s is `entropy_slope` in `calibration.json` and h the entropy of their softmax as a
share of the greatest possible (log({classes}); at least 0.001), divide them by the temperature of the offer's country
there, and take the softmax.

{vocabulary_note}
## Training

{origin} {offers:,} offers, {labelled_offers:,} of them labelled by shops, from {countries}, {names:,} names of
categories, and {transfer_titles:,} titles made up of other titles' words, which the teacher answered;
{epochs} epochs{stopping_note}; the teacher's opinion outweighed {overruled_labels:,} labels.
Mean loss by epoch: {losses}.

## Validation

{validation_note}
"""
MEASURED = """\
{validation_offers:,} labelled offers that were not trained on. Labels are the shops' own and may be wrong.

| | accuracy | macro-F1 |
|---|---|---|
| student | {accuracy:.4f} | {macro_f1:.4f} |
| teacher | {teacher_accuracy:.4f} | {teacher_macro_f1:.4f} |

Agreement with the teacher {teacher_agreement:.4f}; expected calibration error {calibration_error_before:.4f} before
calibration, {calibration_error_after:.4f} after."""
NOT_MEASURED = "Not measured, and not calibrated: the sample has no labelled offers in its validation split."


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
            "stopping_note": _stopping_note(facts),
            "validation_note": MEASURED.format(**facts) if facts["validation_offers"] else NOT_MEASURED,
            "vocabulary_note": _vocabulary_note(facts),
            "losses": ", ".join(f"{loss:.4f}" for loss in facts["losses"]),
        }
    )


def _stopping_note(facts: dict[str, Any]) -> str:
    """Which epoch's weights these are, where epochs were judged."""
    if facts["best_epoch"] is None:
        return ""
    end = " and was stopped there" if facts["stopped_after"] is not None else ""
    return f"{end}, of which the weights are those of epoch {facts['best_epoch']}, the best on validation offers"


def _vocabulary_note(facts: dict[str, Any]) -> str:
    """What trimming the encoder's vocabulary saved, and what it changed for offers that it was not trimmed for."""
    if facts["encoder_mb"] is None:
        return ""
    note = f"""## Vocabulary

Trimmed from the encoder's: its weights were {facts["encoder_mb"]:,} MB
and became {facts["trimmed_encoder_mb"]:,} MB."""
    if facts["changed_titles"] is not None:
        note += f"""
Of offers that it was not trimmed for, {facts["changed_titles"]:.2%} of the titles got other pieces; mean cosine of all
titles' vectors before and after {facts["changed_titles_cosine"]:.5f}."""
    return note + "\n"
