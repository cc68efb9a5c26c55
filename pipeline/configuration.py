"""From settings and a loaded model to the plan of the pipeline: plain functions."""

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from attrs import evolve

from pipeline.grpc.limits import EdgeLimits
from pipeline.interface.status import RequestLimits
from pipeline.models.loaded_model import LoadedModel
from pipeline.process.cpu_affinity import shares
from pipeline.settings.table import Settings
from pipeline.wiring.pipeline_plan import PipelinePlan
from stages.bucketing import buckets_for
from stages.device.recipe import Recipe
from stages.device.spec import Device, EngineSpec
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
from stages.text.text_tokenizer import TextTokenizer
from stages.text.token_rules import TokenRules
from stages.tokenizing import TokenizerRunner

BATCH_SIZES: Final = (8, 16, 32, 64, 128, 256, 512)
SPARE_STREAMS: Final = 64
MAX_BATCH_MS: Final = {"cpu": 250.0, "cuda": 50.0}  # a batch cannot be interrupted


def request_limits(settings: Settings) -> RequestLimits:
    """The fixed limits of one request."""
    return RequestLimits(
        max_items=settings.max_items_per_request,
        max_request_bytes=settings.max_request_bytes,
        max_item_bytes=settings.max_item_bytes,
        max_wait_s=settings.max_wait_time_s,
    )


def edge_limits(settings: Settings) -> EdgeLimits:
    """What one gRPC client may cost.

    A few more streams than requests, so that health, Info and the refusals themselves get
    through where everything comes on one connection.
    """
    streams = settings.max_streams_per_connection
    return EdgeLimits(
        max_connections=settings.max_connections,
        max_streams=streams or settings.max_concurrent_requests + SPARE_STREAMS,
        max_metadata_bytes=settings.max_metadata_bytes,
        max_held_bytes=settings.max_held_bytes,
        control_frames_per_s=settings.control_frames_per_s,
        control_frames_burst=settings.control_frames_burst,
        stall_timeout_s=settings.stall_timeout_s,
        keepalive_s=settings.keepalive_s,
        max_connection_age_s=settings.max_connection_age_s,
        max_connection_age_jitter=settings.max_connection_age_jitter,
        max_connection_age_grace_s=settings.max_connection_age_grace_s,
    )


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


def batch_sizes(settings: Settings) -> tuple[int, ...]:
    """The fixed sizes within MAX_BATCH_SIZE, which itself is the last."""
    most = settings.max_batch_size
    return (*(size for size in BATCH_SIZES if size < most), most)


def engine_specs(
    settings: Settings, folder: Path, recipe: Recipe, cores: Collection[int]
) -> tuple[EngineSpec, ...]:
    """What each device is asked to be; ``cores`` are those that this process may run on."""
    common = EngineSpec(
        folder=folder,
        recipe=recipe,
        dtype=settings.dtype,
        layout=Layout(settings.batching),
        attention=settings.attention,
        compiled=settings.compile,
        trust_remote_code=settings.trust_remote_code,
        control_tokens=settings.control_tokens,
        exclude_tokens=settings.pooling_exclude_tokens,
        exclude_special=settings.pooling_exclude_special,
        buckets=buckets_for(recipe.max_tokens),
        batch_sizes=batch_sizes(settings),
        max_tokens_per_batch=settings.max_tokens_per_batch,
        max_batch_size=settings.max_batch_size,
        null_dimension=settings.null_dimension,
    )
    return tuple(
        evolve(common, device=device, cores=share.cores, threads=share.threads)
        for device, share in zip(settings.device, shares(settings, cores), strict=True)
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


def missing_tokens(tokenizer: TextTokenizer, device: Device) -> int:
    """How many of the tokenizer's tokens the model does not know; null takes any."""
    if device.device == "null":
        return 0
    return max(0, tokenizer.vocabulary - device.vocabulary)


def token_rules(recipe: Recipe, tokenizer: TextTokenizer, device: Device) -> TokenRules:
    """How the model's tokens are cut and pooled."""
    unpooled = None
    if len(device.excluded_ids):
        unpooled = np.zeros(max(device.vocabulary, tokenizer.vocabulary), np.bool_)
        unpooled[device.excluded_ids] = True
    return TokenRules(
        max_tokens=recipe.max_tokens,
        prefix=tokenizer.prefix,
        suffix=tokenizer.suffix,
        unpooled=unpooled,
        pairs=tokenizer.pairs,
        vocabulary=device.vocabulary if missing_tokens(tokenizer, device) else None,
        prompts=dict(recipe.prompts),
        default_prompt=recipe.default_prompt_name,
        pool_from={} if recipe.include_prompt else _prompt_lengths(recipe, tokenizer),
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


def _prompt_lengths(recipe: Recipe, tokenizer: TextTokenizer) -> dict[str, int]:
    """How many tokens each prompt keeps out of the pooling, special ones before it included."""
    names = [name for name, text in recipe.prompts.items() if text]
    encoded = tokenizer.encode([recipe.prompts[name] for name in names])
    return {
        name: len(ids) - len(tokenizer.suffix) for name, ids in zip(names, encoded, strict=True)
    }
