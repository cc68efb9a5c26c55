"""From settings and a loaded model to the plan of the pipeline."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from attrs import evolve

from pipeline.configuration.engine_specs import batch_sizes
from pipeline.configuration.token_rules import token_rules
from pipeline.models.loaded_model import LoadedModel
from pipeline.settings.table import Settings
from pipeline.wiring.pipeline_plan import PipelinePlan
from stages.bucketing import buckets_for
from stages.device.spec import Device
from stages.execution import DeviceRunner
from stages.load.admission_policies import AdmissionPolicy
from stages.load.fair_share import OVERDRAFT
from stages.load.policies.budgets import TextBudget, TokenBudget
from stages.load.policies.deadline_policy import DeadlinePolicy
from stages.load.policies.latency_policy import LatencyPolicy
from stages.load.policies.throughput_policy import ThroughputPolicy
from stages.messages.batch import Layout
from stages.planner.batch_limits import BatchLimits
from stages.planner.precedence import Precedence
from stages.text.token_rules import TokenRules
from stages.tokenizing import TokenizerRunner

MAX_BATCH_MS: Final = {"cpu": 250.0, "cuda": 50.0}  # a batch cannot be interrupted


def admission_policies(settings: Settings) -> tuple[AdmissionPolicy, ...]:
    """The budgets and the deadline, which always hold, and the strategies in force."""
    return tuple(_policies(settings))


def _policies(settings: Settings) -> Iterator[AdmissionPolicy]:
    yield TokenBudget(settings.backpressure_max_queued_tokens, settings.bulk_share)
    yield TextBudget(settings.max_queued_bytes, settings.bulk_share)
    yield DeadlinePolicy()
    if settings.backpressure_throughput_enabled:
        yield ThroughputPolicy(settings.backpressure_max_drain_ms / 1e3, settings.bulk_share)
    if settings.backpressure_latency_enabled:
        yield LatencyPolicy(
            soft_p95_s=settings.backpressure_soft_p95_ms / 1e3,
            hard_p95_s=settings.backpressure_hard_p95_ms / 1e3,
            shed_share=settings.backpressure_shed_share,
            window_s=settings.backpressure_latency_window_s,
        )


def precedence(settings: Settings) -> Precedence:
    """Who goes before whom."""
    return Precedence(
        weights=dict(settings.tenant_weights),
        bulk_aging_s=settings.bulk_aging_ms / 1e3,
        standing_target_s=settings.standing_queue_ms / 1e3,
        standing_interval_s=settings.standing_queue_interval_ms / 1e3,
    )


def batch_limits(settings: Settings, device: Device, max_tokens: int) -> BatchLimits:
    """What bounds a batch on this device."""
    kind = "cuda" if device.device.startswith("cuda") else "cpu"
    graphs = kind == "cuda" and device.layout is Layout.PADDED
    return BatchLimits(
        layout=device.layout,
        buckets=buckets_for(max_tokens),
        max_items=settings.max_batch_size,
        max_tokens=settings.max_tokens_per_batch,
        max_batch_s=(settings.max_batch_ms or MAX_BATCH_MS[kind]) / 1e3,
        stale_after_s=settings.deadline_wait_ms / 1e3,
        min_delay_s=settings.min_item_delay_ms / 1e3,
        max_held_tokens=max(int(OVERDRAFT * settings.backpressure_max_queued_tokens), max_tokens),
        batch_sizes=batch_sizes(settings) if graphs else (),
        precedence=precedence(settings),
    )


def pipeline_plan(settings: Settings, loaded: LoadedModel) -> PipelinePlan:
    """The plan of a server with this model."""
    return plan_with(
        settings,
        rules=token_rules(loaded.recipe, loaded.text_tokenizer, loaded.device),
        device=loaded.device,
        ceiling=loaded.max_batch_tokens,
        tokenizer=loaded.tokenizer_runner,
        runners=loaded.device_runners,
        draw=random.Random().random,  # noqa: S311 - decides who is shed, keeps no secret
    )


def plan_with(
    settings: Settings,
    *,
    rules: TokenRules,
    device: Device,
    ceiling: Callable[[], int],
    tokenizer: TokenizerRunner,
    runners: Sequence[DeviceRunner],
    draw: Callable[[], float],
) -> PipelinePlan:
    """Everything that the pipeline needs to know.

    ``device`` describes each of ``runners``; ``ceiling`` is how many tokens a batch may
    have; ``draw`` is uniform in [0, 1).
    """
    limits = batch_limits(settings, device, rules.max_tokens)
    return PipelinePlan(
        rules=evolve(rules, max_request_tokens=settings.max_tokens_per_request),
        limits=evolve(limits, ceiling=ceiling),
        policies=admission_policies(settings),
        tokenizer=tokenizer,
        devices=runners,
        draw=draw,
        door_capacity=settings.max_concurrent_requests,
        batch_capacity=settings.gpu_queue_maxsize,
        rate_alpha=settings.backpressure_ema_alpha,
        cost=device.cost,
        latency_window_s=settings.backpressure_latency_window_s,
        latency_min_samples=settings.backpressure_min_samples,
        restarts=settings.restarts_max,
        restarts_window_s=settings.restarts_window_s,
    )
