"""The network's shape, its batches, its loss and its temperatures."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sortiment.errors import TrainingError
from sortiment.progress import silent
from sortiment.student.body import (
    build_student,
    choose_layers,
    first_token_features,
    first_token_logits,
    head_width,
)
from sortiment.student.epochs import Plan
from sortiment.student.head import choose_rows, emphasize_tail
from sortiment.student.lesson import distillation_loss
from sortiment.student.prediction import rank_top
from sortiment.student.table import teach_table
from sortiment.student.targets import Targets
from sortiment.student.tokens import Tokens, order_batches


@pytest.mark.parametrize(
    ("available", "wanted", "chosen"), [(12, 3, [0, 6, 11]), (12, 6, [0, 2, 4, 7, 9, 11]), (3, 3, [0, 1, 2])]
)
def test_first_last_and_evenly_spaced_layers_are_taken(available: int, wanted: int, chosen: list[int]) -> None:
    assert choose_layers(available, wanted) == chosen


@pytest.mark.parametrize(("classes", "width"), [(2, 64), (58, 64), (59, 128), (172, 192), (2900, 3200)])
def test_the_head_is_a_multiple_of_64_with_a_tenth_of_room(classes: int, width: int) -> None:
    assert head_width(classes, 0.1, 64) == width


def test_a_head_without_room_still_has_an_unused_output() -> None:
    assert head_width(64, 0.0, 64) == 128


def test_the_short_path_gives_the_stock_networks_logits(tiny_encoder: Path) -> None:
    student = build_student(tiny_encoder, 3, ["a", "b", "c"], 8)
    torch.manual_seed(0)
    torch.nn.init.normal_(student.classifier.weight)
    ids = torch.randint(4, 40, (5, 9))
    mask = torch.arange(9)[None] < torch.tensor([9, 4, 2, 7, 3])[:, None]
    with torch.inference_mode():
        stock = student(input_ids=ids, attention_mask=mask.long()).logits
        torch.testing.assert_close(first_token_logits(student, ids, mask), stock, rtol=1e-4, atol=1e-4)


def test_an_averaging_student_reads_the_mean_of_its_tokens(tiny_encoder: Path) -> None:
    student = build_student(tiny_encoder, 3, ["a", "b", "c"], 8, averaging=True)
    ids, mask = torch.randint(4, 40, (2, 6)), torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    with torch.inference_mode():
        hidden = student.bert(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states[2]
        mean = torch.stack([hidden[0].mean(0), hidden[1, :4].mean(0)])
        expected = torch.nn.functional.layer_norm(hidden[:, 0] + 2 * mean, (32,))
        torch.testing.assert_close(first_token_features(student, ids, mask), expected, rtol=1e-3, atol=1e-3)


def test_teaching_words_changes_only_the_rows_of_tokens_in_use(tiny_encoder: Path) -> None:
    student = build_student(tiny_encoder, 3, ["a", "b"], 8)
    before = student.bert.embeddings.word_embeddings.weight.detach().clone()
    tokens = Tokens(np.array([0, 5, 2, 0, 6, 2] * 20, np.int32), np.arange(0, 121, 3), pad_id=1)
    index = np.array([[0], [1]] * 20, np.int32)
    targets = Targets(index, np.ones((40, 1), np.float32), np.zeros(40, np.float32), np.zeros(40, np.float32))
    teach_table(student, tokens, targets, np.arange(40), epochs=5, gain=1.0, seed=0, progress=silent)
    changed = (student.bert.embeddings.word_embeddings.weight != before).any(1)
    assert changed.nonzero()[:, 0].tolist() == [5, 6]


def test_padding_changes_nothing(tiny_encoder: Path) -> None:
    student = build_student(tiny_encoder, 3, ["a", "b", "c"], 8)
    torch.nn.init.normal_(student.classifier.weight)
    ids = torch.randint(4, 40, (1, 5))
    wide = torch.cat([ids, torch.ones(1, 7, dtype=torch.int64)], 1)
    with torch.inference_mode():
        short = first_token_logits(student, ids, torch.ones(1, 5, dtype=torch.bool))
        long = first_token_logits(student, wide, wide != 1)
    torch.testing.assert_close(short, long, rtol=1e-4, atol=1e-4)


def test_an_encoder_of_another_architecture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta"}', encoding="utf-8")
    with pytest.raises(TrainingError, match=r"xlm-roberta.*encoder\.reference"):
        build_student(tmp_path, 3, ["a", "b"], 8)


def test_an_epochs_order_is_a_function_of_seed_and_epoch_and_holds_every_offer_once() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 1000)
    first, again, next_epoch = (order_batches(lengths, 32, 7, epoch) for epoch in (0, 0, 1))
    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    assert any((one != two).any() for one, two in zip(first, next_epoch, strict=True) if one.size == two.size)
    assert sorted(np.concatenate(first).tolist()) == list(range(1000))


def test_batches_hold_offers_of_similar_length() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 5000)
    padded = sum(int(lengths[batch].max()) * batch.size for batch in order_batches(lengths, 32, 0, 0))
    assert padded < 1.1 * lengths.sum()


def test_a_batch_is_padded_to_its_longest_offer() -> None:
    tokens = Tokens(np.array([5, 6, 7, 8, 9], np.int32), np.array([0, 2, 5]), pad_id=1)
    ids, mask = tokens.pad(np.array([1, 0]))
    assert ids.tolist() == [[7, 8, 9], [5, 6, 1]]
    assert mask.tolist() == [[True, True, True], [True, True, False]]


def test_the_loss_is_the_cross_entropy_over_listed_classes_and_the_rest() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5, -1.0, -1e4]])
    index, probability, rest = torch.tensor([[1, 0, -1]]), torch.tensor([[0.6, 0.3, 0.0]]), torch.tensor([0.1])
    share = torch.softmax(logits, 1)[0]
    expected = -(0.6 * share[1].log() + 0.3 * share[0].log() + 0.1 * (share[2] + share[3]).log())
    assert distillation_loss(logits, index, probability, rest, 1.0).item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_loss_has_a_finite_gradient_where_no_mass_remains() -> None:
    logits = torch.tensor([[200.0, 0.0, -1e4]], requires_grad=True)
    loss = distillation_loss(logits, torch.tensor([[0]]), torch.tensor([[1.0]]), torch.tensor([0.0]), 2.0)
    loss.backward()
    assert torch.isfinite(logits.grad).all()


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    plan = Plan(np.arange(100), 2, 10, 1e-3, 1e-3, 0.2, 0.0, 0)
    rates = [plan.rate_at(step) for step in range(20)]
    assert rates.index(max(rates)) in (3, 4)
    assert rates[-1] < 0.06
    assert rates[0] < rates[1] < rates[2]


def test_small_classes_are_lifted_and_equal_ones_are_not(tiny_encoder: Path) -> None:
    student = build_student(tiny_encoder, 3, ["often", "seldom"], 8)
    index, one = np.array([[0], [0], [0], [1]], np.int32), np.ones((4, 1), np.float32)
    targets = Targets(index, one, np.zeros(4, np.float32), one[:, 0])
    emphasize_tail(student, targets, np.arange(4), 2, 0.5)
    often, seldom = student.classifier.bias[:2].tolist()
    assert seldom - often == pytest.approx(0.5 * np.log(3), abs=1e-5)
    before = student.classifier.bias.detach().clone()
    emphasize_tail(student, targets, np.array([0, 3]), 2, 0.5)
    assert torch.allclose(student.classifier.bias, before, atol=1e-5)


def test_rare_classes_are_kept_whole_when_offers_are_thinned() -> None:
    labels = np.array([0] * 500 + [1] * 3 + [-1] * 500, np.int32)
    chosen = choose_rows(labels, np.arange(1003), most=100, seed=0)
    assert chosen.size == 100
    assert (labels[chosen] == 1).sum() == 3
    assert (labels[chosen] == 0).sum() > 5


def test_the_best_classes_come_first_and_ties_by_index() -> None:
    ranked = rank_top(np.array([[0.1, 0.4, 0.4, 0.1]], np.float32), 3)
    assert ranked.top_index.tolist() == [[1, 2, 0]]
    assert rank_top(np.array([[0.2, 0.8]], np.float32), 5).top_index.tolist() == [[1, 0]]


@pytest.mark.parametrize("levels", [3, 1_000_000])
def test_the_order_is_that_of_a_stable_sort_with_many_ties_or_none(levels: int) -> None:
    shares = (np.random.default_rng(0).integers(levels, size=(300, 40)) / levels).astype(np.float32)
    for top_k in (1, 5, 39, 40):
        ranked = rank_top(shares, top_k)
        order = np.argsort(-shares, axis=1, kind="stable")[:, :top_k]
        assert (ranked.top_index == order).all()
        assert (ranked.top_probability == np.take_along_axis(shares, order, 1)).all()
    assert rank_top(shares[:0], 5).top_index.shape == (0, 5)
